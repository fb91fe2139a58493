#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# wload on a mount: what arrives is right, what arrived is consumed, nothing before.

load helper

setup() {
	require fuse
	wl_paths
	OUT=$BATS_TEST_TMPDIR/out
}

teardown() {
	wl_cleanup
}

shard_pages() { fincore -nb -o PAGES "$CKPT/model.safetensors" | tr -d ' '; }

@test "load: every family arrives fused as the reference says, and everything is consumed" {
	for family in tiny-llama tiny-llama-tied tiny-qwen2 tiny-qwen3; do
		rm -rf "$CKPT" "$OUT"
		make_tiny "$family" "$CKPT"
		wl_mount "$CKPT" "$MNT"
		load_json --device host --verify --out "$OUT"
		run -0 python3 "$WL_ROOT/tests/oracles/plan_oracle.py" "$CKPT" "$OUT"
		assert_equal "$(field consumed_tensors)" "$(stats_field tensors)"
		assert_equal "$(field consumed_bytes)" "$(stats_field bytes)"
		assert_equal "$(field bytes_verified)" "$(field bytes_uploaded)"
		assert_equal "$(count_files "$MNT/tensors")" 0
		wl_umount "$MNT"
	done
}

@test "load: what stacks and packed modules are made of is consumed, each tensor once" {
	for family in tiny-deepseek-fp4 tiny-glm-4.5 tiny-hunyuan-moe-packed tiny-phi3; do
		rm -rf "$CKPT"
		make_tiny "$family" "$CKPT"
		wl_mount "$CKPT" "$MNT"
		load_json --device host --verify
		assert_equal "$(field note)" null
		assert_equal "$(field consumed_tensors)" "$(stats_field tensors)"
		assert_equal "$(field consumed_bytes)" "$(stats_field bytes)"
		assert_equal "$(field bytes_verified)" "$("$WLOAD" plan "$CKPT" --json | jq .bytes)"
		assert_equal "$(count_files "$MNT/tensors")" 0
		wl_umount "$MNT"
	done
}

@test "load: a rank consumes nothing and says so, all of them are the checkpoint" {
	local out=()

	mount_tiny tiny-qwen2
	for rank in 0 1 2 3; do
		load_json --device host --verify --tp 4 --rank "$rank" --out "$OUT.$rank"
		run -0 python3 "$WL_ROOT/tests/oracles/plan_oracle.py" "$CKPT" "$OUT.$rank" 4 "$rank"
		assert_equal "$(field rank) of $(field tp)" "$rank of 4"
		assert_equal "$(field note)" 'nothing is consumed: the other ranks need the tensors still'
		assert_equal "$(field consumed_tensors)" 0
		assert_equal "$(field bytes_verified)" "$(field bytes_uploaded)"
		out+=("$OUT.$rank")
	done
	run -0 python3 "$WL_ROOT/tests/oracles/plan_oracle.py" --rebuild "$CKPT" "${out[@]}"
	assert_equal "$(count_files "$MNT/tensors")" "$(stats_field tensors)"
	run -0 "$WLOAD" "$MNT" --device host --tp 4
	assert_output --partial 'consumed  nothing: it is one rank of 4'
	load_json --device host --tp 4 --no-consume
	assert_equal "$(field note)" null
	run -0 "$WLOAD" consume "$MNT" --all
	wl_umount "$MNT"
}

@test "load: afterwards nothing of the shard is in the page cache" {
	mount_tiny
	cat "$CKPT/model.safetensors" >/dev/null
	load_json --device host
	assert_equal "$(shard_pages)" 0
	assert_equal "$(stats_field resident_bytes)" 0
	wl_umount "$MNT"
}

@test "load: a null device reads every byte" {
	mount_tiny
	load_json --device null
	assert_equal "$(field bytes_read)" "$(stats_field bytes)"
	wl_umount "$MNT"
}

@test "load: --release gives the memory back and consumes all the same" {
	mount_tiny
	load_json --device host --release --verify
	assert_equal "$(stats_field consumed_tensors)" 30
	wl_umount "$MNT"
}

@test "load: --verify-every compares every nth parameter, the first included" {
	local want

	mount_tiny
	want=$("$WLOAD" plan "$MNT" --json | jq '[.parameters[].bytes] | to_entries |
		map(select(.key % 4 == 0).value) | add')
	load_json --device host --verify-every 4
	assert_equal "$(field verify_every) $(field bytes_verified)" "4 $want"
	assert_equal "$(stats_field consumed_tensors)" 30
	run -0 "$WLOAD" restore "$MNT"
	run -0 "$WLOAD" "$MNT" --device host --verify-every 4
	assert_line --regexp '^  verified  .*, one parameter of 4$'
	run -0 "$WLOAD" restore "$MNT"
	run -2 "$WLOAD" "$MNT" --device host --verify-every 0
	assert_output "wload: --verify-every: '0' is not a number from 1 to 4294967295"
	run -2 "$WLOAD" "$MNT" --device null --verify-every 2
	assert_output 'wload: --verify-every: --device null keeps nothing to compare'
	wl_umount "$MNT"
}

@test "load: --no-consume consumes nothing" {
	mount_tiny
	load_json --device host --no-consume
	assert_equal "$(field consumed_tensors)" 0
	assert_equal "$(count_files "$MNT/tensors")" 30
	wl_umount "$MNT"
}

@test "load: a mount where a needed tensor is consumed is refused before anything is read" {
	mount_tiny
	rm "$MNT/tensors/model.norm.weight"
	run --separate-stderr -1 "$WLOAD" "$MNT" --device host --quiet
	# shellcheck disable=SC2154 # run sets stderr
	assert_regex "$stderr" "^wload: 1 of .* consumed already, 'model.norm.weight' first"
	assert_equal "$(count_files "$MNT/tensors")" 29
	run -0 "$WLOAD" restore "$MNT"
	load_json --device host
	assert_equal "$(field consumed_tensors)" 30
	wl_umount "$MNT"
}

@test "load: tensors that no parameter needs are consumed at the end, and listed" {
	make_tiny tiny-llama "$CKPT"
	sed -i 's/"tie_word_embeddings": false/"tie_word_embeddings": true/' "$CKPT/config.json"
	wl_mount "$CKPT" "$MNT"
	load_json --device host
	assert_equal "$(jq -c .unused "$REPORT")" '["lm_head.weight"]'
	assert_equal "$(field consumed_tensors)" 30
	wl_umount "$MNT"
}

@test "load: the mount's own shard files serve where the backing path leads elsewhere" {
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT" "$MNT"
	mv "$CKPT" "$CKPT.away"
	load_json --device host --verify --out "$OUT"
	run -0 python3 "$WL_ROOT/tests/oracles/plan_oracle.py" "$CKPT.away" "$OUT"
	assert_equal "$(field consumed_tensors)" 30
	wl_umount "$MNT"
}

@test "load: a folder inside a mount is not a mount's root" {
	mount_tiny
	run --separate-stderr -1 "$WLOAD" "$MNT/tensors" --device host --quiet
	assert_regex "$stderr" "not its root|is not the root|root"
	assert_equal "$(count_files "$MNT/tensors")" 30
	wl_umount "$MNT"
}

@test "load: a plain folder that looks like a mount is never touched" {
	make_tiny tiny-llama "$CKPT"
	mkdir -p "$CKPT/tensors" "$CKPT/.wload"
	echo precious >"$CKPT/tensors/model.norm.weight"
	echo precious >"$CKPT/.wload/consume"
	run -0 "$WLOAD" "$CKPT" --device host
	assert_output --partial "nothing: '$CKPT' is not a wloadfs mount"
	run -1 "$WLOAD" consume "$CKPT" --all
	assert_equal "$(cat "$CKPT/tensors/model.norm.weight" "$CKPT/.wload/consume")" $'precious\nprecious'
}

@test "consume and restore: prefix, key, all; counts; idempotent" {
	mount_tiny
	run -0 "$WLOAD" consume "$MNT" model.layers.0
	assert_output --partial 9
	run -0 "$WLOAD" consume "$MNT" model.layers.0
	assert_output --partial 0
	run -0 "$WLOAD" consume "$MNT" --key model.norm.weight
	assert_equal "$(count_files "$MNT/tensors")" 20
	run -1 "$WLOAD" consume "$MNT" --key no.such.tensor
	run -0 "$WLOAD" restore "$MNT" model.layers
	assert_equal "$(count_files "$MNT/tensors")" 29
	run -0 "$WLOAD" consume "$MNT" --all
	assert_equal "$(count_files "$MNT/tensors")" 0
	run -0 "$WLOAD" restore "$MNT"
	assert_equal "$(count_files "$MNT/tensors")" 30
	wl_umount "$MNT"
}

@test "stats and ls: say what is consumed" {
	mount_tiny
	rm "$MNT/tensors/model.norm.weight"
	run -0 "$WLOAD" stats "$MNT"
	run -0 bash -c "'$WLOAD' ls '$MNT' --json | jq -r '.[] | select(.state == \"consumed\").name'"
	assert_output model.norm.weight
	run -0 bash -c "'$WLOAD' stats '$MNT' --json | jq .consumed_tensors"
	assert_output 1
	wl_umount "$MNT"
}

@test "mount: safetensors, numpy and tensors/ agree on every tensor" {
	require pypi
	mount_tiny
	run -0 "$PYTHON" - "$MNT" <<-'PY'
		import json, sys
		import numpy as np
		from safetensors import safe_open
		mnt = sys.argv[1]
		lines = [json.loads(line) for line in open(mnt + "/.wload/index.jsonl")]
		shards = lines[0]["shards"]
		for t in lines[1:]:
		    with safe_open(f"{mnt}/{shards[t['shard']]['name']}", "np") as f:
		        raw = open(f"{mnt}/tensors/{t['file']}", "rb").read()
		        npy = np.load(f"{mnt}/npy/{t['file']}.npy", mmap_mode="r")
		        assert npy.tobytes() == raw, t["name"]
		        assert list(npy.shape) == list(f.get_slice(t["name"]).get_shape()), t["name"]
		print(len(lines) - 1)
	PY
	assert_output 30
	wl_umount "$MNT"
}
