#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# -o tp=N: ranks/R is the checkpoint of rank R, made of extents of the shards.

load helper

setup() {
	require fuse
	wl_paths
	R1=$MNT/ranks/1
	OUT=$BATS_TEST_TMPDIR/out
}

teardown() {
	wl_cleanup
}

# llama [OPTIONS…]: a mount of a small Llama for two ranks.
llama() {
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT" "$MNT" -o tp=2 "$@"
}

# written RANK [OPTIONS…]: what a load of a rank writes, in $OUT.
written() {
	rm -rf "$OUT"
	"$WLOAD" load "$CKPT" --device host --quiet --tp 2 --rank "$1" --out "$OUT" "${@:2}"
}

refused() {
	run -1 "$WLOADFS" "${@:2}" "$CKPT" "$MNT"
	assert_output --partial "$1"
	run ! is_mounted "$MNT"
}

pages() { fincore -nb -o RES "$CKPT/model.safetensors" | tr -d ' '; }

@test "tp: a rank's folder holds the files that a load writes, and the checkpoint's others" {
	local layout rank
	for layout in trtllm vllm; do
		rm -rf "$CKPT"
		make_tiny tiny-qwen3-moe "$CKPT"
		wl_mount "$CKPT" "$MNT" -o "tp=2,ep=2,layout=$layout"
		for rank in 0 1; do
			written "$rank" --ep 2 --layout "$layout"
			run -0 cmp "$OUT/model.safetensors" "$MNT/ranks/$rank/model.safetensors"
			run -0 cmp "$CKPT/config.json" "$MNT/ranks/$rank/config.json"
		done
		run -0 ls -A "$R1"
		assert_output "$( (echo .wload fused modules npy tensors; ls -A "$CKPT"
			echo model.safetensors.index.json) | tr ' ' '\n' | LC_ALL=C sort | uniq)"
		wl_umount "$MNT"
	done
}

@test "tp: fused/ has the rank's parameters, tensors/ the whole ones, the root everything" {
	llama
	written 1
	wl_mount "$OUT" "$BATS_TEST_TMPDIR/loaded"
	run -0 diff -r "$R1/fused" "$BATS_TEST_TMPDIR/loaded/tensors"
	run -0 diff -r "$R1/tensors" "$MNT/tensors"
	run -0 cmp "$CKPT/model.safetensors" "$MNT/model.safetensors"
	assert_equal "$(md5sum <"$MNT/fused/lm_head.weight")" \
		"$(cat "$MNT"/ranks/[01]/fused/lm_head.weight | md5sum)"
	assert_equal "$(jq -c '[.tp, .ep, .layout, .names, .ranks, .rank]' \
		"$R1/.wload/stats.json")" '[2,1,"trtllm","fused",2,1]'
	wl_umount "$BATS_TEST_TMPDIR/loaded"
	wl_umount "$MNT"
}

@test "tp: the index names every parameter and its file, and how large all are" {
	llama
	run -0 jq -r '.metadata.total_size, (.weight_map | length), (.weight_map | map(.) | unique[])' \
		"$R1/model.safetensors.index.json"
	assert_output "$(cat "$R1"/fused/* | wc -c)"$'\n21\nmodel.safetensors'
	run -0 diff <(jq -r '.weight_map | keys[]' "$R1/model.safetensors.index.json") \
		<(LC_ALL=C ls "$R1/fused")
	wl_umount "$MNT"
}

@test "tp: a folder with several shards, an index, subfolders and strangers" {
	make_tiny tiny-llama "$CKPT" --max-shard-size 1MB
	cp "$CKPT/config.json" "$CKPT/consolidated.safetensors"
	mkdir "$CKPT/sub"
	cp "$CKPT/config.json" "$CKPT/sub/x.safetensors"
	assert [ "$(find "$CKPT" -name 'model-*.safetensors' | wc -l)" -gt 2 ]
	wl_mount "$CKPT" "$MNT" -o tp=2
	run -0 bash -c "cd '$R1' && LC_ALL=C ls -d *safetensors* sub/*"
	assert_output $'model.safetensors\nmodel.safetensors.index.json\nsub/x.safetensors'
	assert_errno ENOENT stat "$R1/consolidated.safetensors"
	assert_errno ENOENT stat "$R1/model-00001-of-00003.safetensors"
	run -0 diff -r "$CKPT" "$R1/.wload/checkpoint"
	written 1
	run -0 cmp "$OUT/model.safetensors" "$R1/model.safetensors"
	wl_umount "$MNT"
}

@test "tp: of a file that is mounted by itself" {
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT/model.safetensors" "$MNT" -o tp=2
	written 1
	run -0 cmp "$OUT/model.safetensors" "$R1/model.safetensors"
	# config.json is shown beside it, by which a load knows what to split.
	run -0 ls "$MNT"
	assert_line --index 0 config.json
	run -0 cmp "$CKPT/config.json" "$R1/config.json"
	"$WLOAD" "$R1" --device host --quiet --no-consume --out "$OUT.mount"
	run -0 cmp "$OUT.mount/model.safetensors" "$R1/model.safetensors"
	run -0 diff <("$WLOAD" plan "$MNT") <("$WLOAD" plan "$CKPT")
	wl_umount "$MNT"
}

# Not a byte of it is read, so that its shards may be holes.
@test "tp: shards are of 5 GB at most" {
	require disk
	"$MAKE_CHECKPOINT" --quiet --sparse --family llama-3.1-70b "$CKPT"
	wl_mount "$CKPT" "$MNT" -o tp=2
	run -0 bash -c "cd '$R1' && ls model*.safetensors"
	assert_line --index 0 model-00001-of-00015.safetensors
	assert_equal "${#lines[@]}" 15
	assert_equal "$(find "$R1" -maxdepth 1 -name 'model-*' -size +5000100000c | wc -l)" 0
	assert_equal "$(jq -r '.weight_map | map(.) | unique | length' \
		"$R1/model.safetensors.index.json")" 15
	wl_umount "$MNT"
}

@test "tp: what can't be split is refused before mounting, in the plan's words" {
	make_tiny tiny-llama "$CKPT"
	refused 'num_attention_heads' -o tp=3
	refused 'ep 3, which is no divisor of the 4 ranks' -o tp=4,ep=3
	rm -rf "$CKPT"
	make_tensors "$CKPT" <<<"t U8 100"
	refused 'no config.json could be read, so what rank 0 of 2 has is unknown' -o tp=2
	run -2 "$WLOADFS" -o tp=2,ranks=3 "$CKPT" "$MNT"
	assert_output --partial 'ranks=3 and tp=2 contradict'
	run -2 "$WLOADFS" -o tp=257 "$CKPT" "$MNT"
	assert_output --partial "tp='257' is not a number from 1 to 256"
	run -2 "$WLOADFS" -o tp=2,names=x "$CKPT" "$MNT"
	assert_output --partial "names='x' is neither 'fused' nor 'hf'"
}

@test "tp: ranks may be said too, and one rank is a checkpoint as well" {
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT" "$MNT" -o tp=1,ranks=1
	"$WLOAD" load "$CKPT" --device host --quiet --out "$OUT"
	run -0 cmp "$OUT/model.safetensors" "$MNT/ranks/0/model.safetensors"
	wl_umount "$MNT"
}

@test "tp: files can't be changed or removed" {
	llama
	assert_errno EROFS open-write "$R1/model.safetensors"
	assert_errno EPERM unlink "$R1/model.safetensors"
	assert_errno EPERM unlink "$R1/model.safetensors.index.json"
	assert_errno EPERM rmdir "$R1/.wload/checkpoint"
	wl_umount "$MNT"
}

@test "tp: a rank's folder is loaded as what it is, without a word about it" {
	make_tiny tiny-qwen3-moe "$CKPT"
	wl_mount "$CKPT" "$MNT" -o tp=2,ep=2,layout=vllm
	written 1 --ep 2 --layout vllm
	run -0 "$WLOAD" load "$R1" --device host --quiet --json --no-consume \
		--out "$BATS_TEST_TMPDIR/loaded"
	assert_equal "$(jq -c '[.tp, .rank, .ep, .layout]' <<<"$output")" '[2,1,2,"vllm"]'
	run -0 diff -r "$OUT" "$BATS_TEST_TMPDIR/loaded"
	run -0 bash -c "'$WLOAD' plan '$R1' --json | jq -c '[.tp, .rank, .ep, .layout]'"
	assert_output '[2,1,2,"vllm"]'
	run -0 "$WLOAD" "$R1" --device null --json --quiet --tp 1
	assert_equal "$(jq -c '[.tp, .rank, .claims]' <<<"$output")" '[1,0,true]'
	wl_umount "$MNT"
}

@test "tp: the Python module loads a rank's folder as what it is" {
	require numpy
	# A sanitizer's library needs its runtime in every program.
	[ "${BUILD:-release}" = release ] || skip "the library is built with BUILD=$BUILD"
	llama
	run -0 env PYTHONPATH="$WL_ROOT/loader/python" WLOAD_LIBRARY="$WL_BUILD/libwload.so" \
		"$PYTHON" - "$R1" <<-'PY'
		import sys
		import wload
		for more in ({}, {"tp": 1}):
		    loaded = wload.load(sys.argv[1], device="host", consume=False, **more)
		    print(loaded.parameters["model.layers.0.self_attn.qkv_proj.weight"].shape)
	PY
	assert_output $'(256, 256)\n(512, 256)'
	wl_umount "$MNT"
}

@test "tp: the loads of all ranks consume, without the backing files too" {
	require root disk
	llama
	written 0
	mkdir "$BATS_TEST_TMPDIR/empty"
	# Another mount namespace, where the checkpoint's own folder is covered.
	run -0 unshare -m bash -c "mount --bind '$BATS_TEST_TMPDIR/empty' '$CKPT' &&
		'$WLOAD' load '$MNT/ranks/0' --device host --quiet --out '$BATS_TEST_TMPDIR/loaded'"
	run -0 cmp "$OUT/model.safetensors" "$BATS_TEST_TMPDIR/loaded/model.safetensors"
	assert_equal "$(stats_field consumed_tensors)" 0
	run -0 "$WLOAD" "$R1" --device null --quiet
	assert_equal "$(stats_field consumed_tensors) $(pages)" '30 0'
	wl_umount "$MNT"
}

@test "tp: the mount's rules are the load's" {
	make_tiny tiny-llama "$CKPT"
	sed 's/"family": "llama"/"family": "mine"/' "$WL_ROOT/loader/plan/rules/llama.json" \
		>"$BATS_TEST_TMPDIR/rules.json"
	cd "$BATS_TEST_TMPDIR"
	wl_mount "$CKPT" "$MNT" -o tp=2,rules=rules.json
	run -0 bash -c "'$WLOAD' plan '$R1' --json | jq -r .family"
	assert_output mine
	wl_umount "$MNT"
}

@test "tp: a rank's removals are its own, the last one's consume" {
	llama
	local qkv=model.layers.0.self_attn.qkv_proj.weight q=model.layers.0.self_attn.q_proj.weight
	rm "$R1/fused/$qkv"
	assert_errno ENOENT stat "$R1/fused/$qkv"
	assert_errno ENOENT stat "$R1/tensors/$q"
	assert_file_exists "$MNT/ranks/0/fused/$qkv"
	assert_file_exists "$MNT/fused/$qkv"
	assert_equal "$(stats_field consumed_tensors)" 0
	rm "$MNT/ranks/0/tensors/$q"
	assert_errno ENOENT stat "$MNT/ranks/0/fused/$qkv"
	assert_errno ENOENT stat "$MNT/fused/$qkv"
	assert_equal "$(stats_field consumed_tensors)" 1
	echo 'restore' >"$R1/.wload/consume"
	assert_file_exists "$R1/fused/$qkv"
	assert_errno ENOENT stat "$MNT/ranks/0/fused/$qkv"
	rm -r "$R1/fused" "$MNT/ranks/0/fused"
	assert_equal "$(stats_field consumed_tensors)" 30
	wl_umount "$MNT"
}

@test "tp: experts of other ranks go with the last of a rank's parameters" {
	make_tiny tiny-qwen3-moe "$CKPT"
	wl_mount "$CKPT" "$MNT" -o tp=2,ep=2
	rm -r "$R1/fused"
	assert_equal "$(jq -c '.claims | map(.tensors)' "$MNT/.wload/stats.json")" \
		"[$(stats_field tensors),0]"
	wl_umount "$MNT"
}

@test "tp: a shard keeps its size and its bytes when all is consumed, and leaves no page" {
	local option
	require disk
	for option in rw budget=16M consume=read no_direct_mmap; do
		rm -rf "$CKPT"
		llama -o "$option"
		written 1
		sync "$CKPT/model.safetensors"
		run -0 timeout 60 python3 - "$R1/model.safetensors" "$OUT/model.safetensors" \
			"$MNT/.wload/consume" <<-'PY'
			import mmap, os, sys, time
			path, copy, consume = sys.argv[1:]
			want = open(copy, "rb").read()

			def rss():
			    total, ours = 0, False
			    for line in open("/proc/self/smaps"):
			        if line.split()[0].count("-") == 1:
			            ours = path in line.split()
			        elif ours and line.startswith("Rss:"):
			            total += int(line.split()[1])
			    return total

			file = open(path, "rb")
			m = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
			print(bytes(m) == want, rss() > 3000)
			with open(consume, "w") as control:
			    control.write("all\n")
			left = rss()  # the header's pages, which are no tensor's
			print(left <= 8 or left, bytes(m) == want, os.stat(path).st_size == len(want))
			end = time.time() + 20
			while rss() > 8 and time.time() < end:
			    time.sleep(0.05)
			print(rss() <= 8)
		PY
		assert_output $'True True\nTrue True True\nTrue'
		wait_until "[ \"\$(pages)\" = 0 ]"
		wl_umount "$MNT"
	done
}

@test "tp: names=hf has the checkpoint's own tensors, each the rank's part" {
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT" "$MNT" -o tp=2,names=hf
	run -0 diff <(jq -r '.weight_map | keys[]' "$R1/model.safetensors.index.json") \
		<(LC_ALL=C ls "$MNT/tensors")
	assert_file_exists "$R1/fused/model.layers.0.self_attn.qkv_proj.weight"
	"$WLOAD" load --quiet --device host --no-consume --tp 2 --rank 1 --names hf --out "$OUT" "$CKPT"
	cmp "$OUT/model.safetensors" "$R1/model.safetensors"
	"$WLOAD" load --quiet --device host --no-consume --names hf --out "$OUT.mount" "$R1"
	cmp "$OUT.mount/model.safetensors" "$OUT/model.safetensors"
	run -0 timeout 60 python3 - "$R1/model.safetensors" <<-'PY'
		import mmap, os, sys
		file = open(sys.argv[1], "rb")
		m = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
		want = bytes(m)
		top = os.path.dirname(sys.argv[1])
		for name in os.listdir(f"{top}/fused"):
		    os.unlink(f"{top}/fused/{name}")
		rss = [int(l.split()[1]) for l in open("/proc/self/smaps").read().split(sys.argv[1])[1]
		       .splitlines() if l.startswith("Rss:")][0]
		print(rss <= 8 or rss, bytes(m) == want)
	PY
	assert_output 'True True'
	wl_umount "$MNT"
}

@test "tp: safetensors reads a rank's folder" {
	require pypi
	llama
	written 1
	run -0 "$PYTHON" - "$R1" "$OUT" <<-'PY'
		import json, sys
		from safetensors import safe_open
		made, written = sys.argv[1:]
		files = set(json.load(open(f"{made}/model.safetensors.index.json"))["weight_map"].values())
		for file in files:
		    with safe_open(f"{made}/{file}", "np") as a, safe_open(f"{written}/{file}", "np") as b:
		        assert a.keys() == b.keys() and a.metadata() == b.metadata()
		        for name in a.keys():
		            assert a.get_slice(name).get_shape() == b.get_slice(name).get_shape()
		print("read")
	PY
	assert_output read
	wl_umount "$MNT"
}

@test "tp: a storm of readers, removals and restorings leaves right bytes, and no pages" {
	local option seed=${SEED:-$RANDOM}
	require disk
	echo "SEED=$seed"
	for option in rw no_epoch,no_direct_mmap budget=16M consume=read,trace; do
		rm -rf "$CKPT"
		make_tiny tiny-deepseek-fp4 "$CKPT"
		wl_mount "$CKPT" "$MNT" -o "tp=2,$option"
		sync "$CKPT/model.safetensors"
		run -0 --separate-stderr timeout 60 python3 \
			"$BATS_TEST_DIRNAME/../tools/fused_storm.py" "$MNT" 2 3 "$seed"
		assert_output calm
		control 'all\n'
		wait_until "[ \"\$(pages) \$(stats_field held_bytes)\" = '0 0' ]"
		wl_umount "$MNT"
	done
}
