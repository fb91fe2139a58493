#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# A shard that is served stays evictable while it is mapped or open: what is consumed leaves the
# mapping (smaps), the FUSE file and the shard (fincore, which counts pages on both). A shard that is
# passed through keeps what is mapped, and it is counted.

load helper

setup() {
	require fuse disk
	wl_paths
	SHARD=$CKPT/model.safetensors
	# Maps the mount's shard, or opens it with safetensors, touches all of it, consumes tensors, and
	# says what the mapping holds of each before and after, and whether it reads right again.
	cat >"$BATS_TEST_TMPDIR/mapper.py" <<-'PY'
		import json, mmap, os, sys
		mnt, path, how, *names = sys.argv[1:]
		rows = {}
		for line in open(f"{mnt}/.wload/index.jsonl"):
		    row = json.loads(line)
		    if "dtype" in row:
		        rows[row["name"]] = row
		file = open(path, "rb")
		flags = mmap.MAP_PRIVATE if how == "private" else mmap.MAP_SHARED
		shard = mmap.mmap(file.fileno(), 0, flags, mmap.PROT_READ)
		want = bytes(shard)

		def rss():
		    total, ours = 0, False
		    for line in open("/proc/self/smaps"):
		        if line.split()[0].count("-") == 1:
		            ours = line.rstrip().endswith(path)
		        elif ours and line.startswith("Rss:"):
		            total += int(line.split()[1]) * 1024
		    return total

		def pages(row):
		    first = -(-row["offset"] // 4096) * 4096
		    return max(0, (row["offset"] + row["bytes"]) // 4096 * 4096 - first)

		before = rss()
		gone = 0
		for name in names:
		    os.unlink(f"{mnt}/tensors/{name}")
		    gone += pages(rows[name])
		dropped = before - rss()
		held = json.load(open(f"{mnt}/.wload/stats.json"))["held_bytes"]
		print("mapped", before >= len(want))
		print("dropped", dropped >= gone if gone and dropped else dropped)
		print("held", held > 0)
		print("same", bytes(shard) == want)
	PY
}

teardown() {
	wl_cleanup
}

mapper() { PYTHONDONTWRITEBYTECODE=1 timeout 50 python3 "$BATS_TEST_TMPDIR/mapper.py" "$MNT" "$@"; }

mount_with() {
	make_tiny tiny-llama "$CKPT"
	sync "$CKPT"/*
	wl_mount "$CKPT" "$MNT" "$@"
}

file_pages() {
	local pages
	pages=$(fincore -n -o PAGES "$1")
	echo $((pages))
}

NAMES=(model.layers.0.mlp.up_proj.weight lm_head.weight model.layers.1.self_attn.q_proj.weight)

@test "served: what is consumed leaves the mappings of a served shard, and faults in again" {
	for options in shards=served shards=served,no_direct_mmap shards=served,no_epoch; do
		for how in shared private; do
			mount_with -o "$options"
			run -0 mapper "$MNT/model.safetensors" "$how" "${NAMES[@]}"
			assert_output "$(printf '%s\n' 'mapped True' 'dropped True' 'held False' 'same True')"
			wl_umount "$MNT"
			rm -rf "$CKPT"
		done
	done
}

@test "served: what is mapped through passthrough stays, and is counted as held" {
	require_passthrough
	mount_with -o shards=passthrough
	run -0 mapper "$MNT/model.safetensors" shared "${NAMES[@]}"
	assert_output "$(printf '%s\n' 'mapped True' 'dropped 0' 'held True' 'same True')"
	wl_umount "$MNT"
}

@test "served: a shard of two names leaves both, and nothing is left once all is consumed" {
	make_tiny tiny-llama "$CKPT"
	ln "$SHARD" "$CKPT/other.safetensors"
	cat >"$CKPT/model.safetensors.index.json" < <(python3 - "$SHARD" <<-'PY'
		import json, sys
		raw = open(sys.argv[1], "rb").read()
		head = json.loads(raw[8:8 + int.from_bytes(raw[:8], "little")])
		print(json.dumps({"weight_map": {n: "model.safetensors" for n in head if n != "__metadata__"}}))
	PY
	)
	sync "$CKPT"/*
	wl_mount "$CKPT" "$MNT" -o shards=served
	run -0 python3 - "$MNT" <<-'PY'
		import json, mmap, os, sys
		mnt = sys.argv[1]
		maps = []
		for name in ("model.safetensors", "other.safetensors"):
		    with open(f"{mnt}/{name}", "rb") as file:
		        maps.append(mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ))
		same = bytes(maps[0]) == bytes(maps[1])
		with open(f"{mnt}/.wload/consume", "r+b", buffering=0) as consume:
		    consume.write(b"all\n")
		rss, ours = 0, False
		for line in open("/proc/self/smaps"):
		    if line.split()[0].count("-") == 1:
		        ours = ".safetensors" in line
		    elif ours and line.startswith("Rss:"):
		        rss += int(line.split()[1])
		print(same, rss, json.load(open(f"{mnt}/.wload/stats.json"))["held_bytes"])
	PY
	assert_output 'True 0 0'
	assert_equal "$(file_pages "$SHARD")" 0
	assert_equal "$(file_pages "$MNT/model.safetensors")" 0
	wl_umount "$MNT"
}

@test "served: dead bytes that are read again are dropped within a second or two" {
	mount_with -o shards=served
	exec {held}<"$MNT/model.safetensors"
	control 'all\n'
	cat <&"$held" | cmp - "$SHARD" # direct: no FUSE pages, but the shard's
	exec {held}<&-
	run -0 mapper "$MNT/model.safetensors" shared
	# The comparison read the shard by itself; only the mount's looks clear that away.
	# shellcheck disable=SC2016 # a condition, evaluated there
	wait_until '[ "$(file_pages "$MNT/model.safetensors")" = 0 ]'
	# shellcheck disable=SC2016
	wait_until '[ "$(file_pages "$SHARD")" = 0 ]'
	wl_umount "$MNT"
}

@test "served: safe_open's mapping stays, its tensors' pages go" {
	require pypi
	make_tensors "$CKPT" < <(for i in {1..9}; do echo "t.$i U8 $((900000 + i))"; done)
	sync "$CKPT"/*
	wl_mount "$CKPT" "$MNT" -o shards=served
	run -0 "$PYTHON" - "$MNT" <<-'PY'
		import json, os, sys
		from safetensors import safe_open
		mnt = sys.argv[1]

		def rss():
		    total, ours = 0, False
		    for line in open("/proc/self/smaps"):
		        if line.split()[0].count("-") == 1:
		            ours = line.rstrip().endswith("model.safetensors")
		        elif ours and line.startswith("Rss:"):
		            total += int(line.split()[1]) * 1024
		    return total

		with safe_open(f"{mnt}/model.safetensors", "np") as file:
		    keys = list(file.keys())
		    size = sum(len(file.get_tensor(key).tobytes()) for key in keys)
		    full = rss()
		    for key in keys:
		        os.unlink(f"{mnt}/tensors/{key}")
		    print(full > size // 2, rss(), json.load(open(f"{mnt}/.wload/stats.json"))["held_bytes"])
	PY
	assert_output 'True 0 0'
	assert_equal "$(file_pages "$SHARD")" 0
	wl_umount "$MNT"
}

# Four readers and two mappers, never in step with who consumes; one worker.
@test "served: consumed while mapped by some and read by others, with one worker" {
	make_tensors "$CKPT" < <(for i in {1..40}; do echo "t.$i U8 $((500000 + i))"; done)
	sync "$CKPT"/*
	wl_mount "$CKPT" "$MNT" -s -o shards=served
	run -0 timeout 50 python3 - "$MNT" "$SHARD" <<-'PY'
		import mmap, os, random, sys, threading
		mnt, shard = sys.argv[1:]
		want = open(shard, "rb").read()
		stop, wrong = threading.Event(), []

		def mapper():
		    with open(f"{mnt}/model.safetensors", "rb") as file:
		        m = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
		    while not stop.is_set():
		        at = random.randrange(len(want) - 65536)
		        if m[at:at + 65536] != want[at:at + 65536]:
		            wrong.append(at)

		def reader():
		    with open(f"{mnt}/model.safetensors", "rb", buffering=0) as file:
		        while not stop.is_set():
		            at = random.randrange(len(want) - 65536)
		            if os.pread(file.fileno(), 65536, at) != want[at:at + 65536]:
		                wrong.append(at)

		threads = [threading.Thread(target=f) for f in [mapper] * 2 + [reader] * 4]
		for thread in threads:
		    thread.start()
		for again in range(4):
		    for i in random.sample(range(1, 41), 40):
		        os.unlink(f"{mnt}/tensors/t.{i}")
		    with open(f"{mnt}/.wload/consume", "r+b", buffering=0) as consume:
		        consume.write(b"restore\n")
		        if again == 2:
		            consume.write(b"all\n")
		            consume.write(b"restore\n")
		stop.set()
		for thread in threads:
		    thread.join()
		print(wrong)
	PY
	assert_output '[]'
	wl_umount "$MNT"
}
