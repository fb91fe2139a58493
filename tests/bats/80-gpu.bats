#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount,gpu
# wload on a GPU: the bytes on the device, read back, are the checkpoint's.

load helper

setup() {
	require gpu
	require fuse
	wl_paths
	OUT=$BATS_TEST_TMPDIR/out
}

teardown() {
	wl_cleanup
}

@test "gpu: auto is the GPU; every family arrives fused as the reference says" {
	for family in tiny-llama tiny-llama-tied tiny-qwen2 tiny-qwen3; do
		rm -rf "$CKPT" "$OUT"
		make_tiny "$family" "$CKPT"
		wl_mount "$CKPT" "$MNT"
		load_json --verify --out "$OUT"
		assert_regex "$(field device)" '^cuda:0 \(NVIDIA'
		run -0 python3 "$WL_ROOT/tests/oracles/plan_oracle.py" "$CKPT" "$OUT"
		assert_equal "$(field bytes_verified)" "$(field bytes_uploaded)"
		assert_equal "$(count_files "$MNT/tensors")" 0
		wl_umount "$MNT"
	done
}

@test "gpu: --release" {
	mount_tiny
	load_json --device cuda:0 --release --verify
	assert_equal "$(field consumed_tensors)" 30
	wl_umount "$MNT"
}

@test "gpu: a device that is not there is refused, and nothing is consumed" {
	mount_tiny
	run --separate-stderr -1 "$WLOAD" "$MNT" --device cuda:63 --quiet
	# shellcheck disable=SC2154 # run sets stderr
	assert_regex "$stderr" "^wload: .*'cuda:63'"
	assert_equal "$(count_files "$MNT/tensors")" 30
	wl_umount "$MNT"
}

@test "gpu: more than the device's memory is refused before the first byte" {
	"$MAKE_CHECKPOINT" --family llama-3.1-405b --sparse "$CKPT" >/dev/null
	wl_mount "$CKPT" "$MNT"
	run --separate-stderr -1 "$WLOAD" "$MNT" --device cuda --quiet
	assert_regex "$stderr" '^wload: .*811706777600'
	assert_equal "$(stats_field consumed_tensors)" 0
	wl_umount "$MNT"
}

@test "gpu: the Python module gives torch tensors on the device, without a copy" {
	find_python torch,safetensors || lacks torch 'torch is not installed'
	export WLOAD_LIBRARY=$WL_BUILD/libwload.so
	for family in tiny-llama tiny-qwen2; do
		rm -rf "$CKPT"
		make_tiny "$family" "$CKPT"
		wl_mount "$CKPT" "$MNT"
		run -0 "$PYTHON" "$WL_ROOT/tests/oracles/torch_module.py" "$MNT" cuda:0
		assert_output --partial 'agree on cuda:0'
		wl_umount "$MNT"
	done
}

@test "gpu: steps make the bytes that they make on the host" {
	run -0 "$WL_BUILD/tests/gpu_steps"
	refute_output --partial 'not ok'
}

@test "gpu: how fast steps are run is told beside the device's own copies" {
	local rate=$WL_BUILD/bench/kernelrate

	[ -x "$rate" ] || skip 'benches are not built'
	run -0 "$rate"
	run -0 python3 -c '
import json, sys
rows = [json.loads(line) for line in sys.stdin]
assert "device" in rows[0] and len(rows) > 10
assert all(0 < row["share"] < 2 for row in rows[1:]), rows' <<<"$output"
}
