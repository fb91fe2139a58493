#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount,pypi
# A real model, compared by packages that nobody here wrote: every tensor, by every way to read it.

load helper

setup() {
	require fuse
	require pypi
	wl_paths
	MODEL=$("$WL_ROOT/scripts/fetch-model") || lacks pypi 'the model cannot be fetched'
}

teardown() {
	wl_cleanup
}

@test "model: tensors/, npy/ and safe_open on the mount agree with safetensors on the bare file" {
	wl_mount "$MODEL" "$MNT"
	run -0 "$PYTHON" - "$MODEL" "$MNT" <<-'PY'
		import json, sys
		import numpy as np
		from safetensors import safe_open
		bare, mnt = sys.argv[1:]
		index = [json.loads(line) for line in open(mnt + "/.wload/index.jsonl")][1:]
		with safe_open(bare + "/model.safetensors", "np") as want, \
		     safe_open(mnt + "/model.safetensors", "np") as got:
		    assert sorted(want.keys()) == sorted(got.keys()) == sorted(t["name"] for t in index)
		    for t in index:
		        a = want.get_tensor(t["name"])
		        assert np.array_equal(a, got.get_tensor(t["name"])), t["name"]
		        with open(f"{mnt}/tensors/{t['file']}", "rb") as f:
		            assert f.read() == a.tobytes(), t["name"]
		        b = np.load(f"{mnt}/npy/{t['file']}.npy", mmap_mode="r")
		        assert b.dtype == a.dtype and np.array_equal(a, b), t["name"]
		print(len(index), "tensors agree")
	PY
	assert_output --regexp '^[1-9][0-9]+ tensors agree$'
	wl_umount "$MNT"
}

@test "model: an architecture without rules loads unfused, with a note, and is the model" {
	local out=$BATS_TEST_TMPDIR/out
	wl_mount "$MODEL" "$MNT"
	run -0 "$WLOAD" load "$MNT" --device host --verify --out "$out" --json --quiet
	echo "$output" >"$BATS_TEST_TMPDIR/report.json"
	assert_equal "$(jq -r .family "$BATS_TEST_TMPDIR/report.json")" none
	assert_regex "$(jq -r .note "$BATS_TEST_TMPDIR/report.json")" bert
	assert_equal "$(count_files "$MNT/tensors")" 0
	run -0 "$PYTHON" - "$MODEL" "$out" <<-'PY'
		import sys
		import numpy as np
		from safetensors.numpy import load_file
		want, got = (load_file(d + "/model.safetensors") for d in sys.argv[1:])
		assert want.keys() == got.keys()
		assert all(np.array_equal(want[k], got[k]) for k in want)
	PY
	wl_umount "$MNT"
}
