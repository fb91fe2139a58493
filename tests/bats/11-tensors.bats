#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# tensors/: every tensor is a file of its raw bytes, to every tool that reads files.

load helper

setup() {
	require fuse
	wl_paths
	T=$MNT/tensors
	EMBED=model.embed_tokens.weight # 1,051,136 bytes, on no page's border
}

teardown() {
	wl_cleanup
}

@test "ls: every tensor of the checkpoint and nothing else" {
	mount_tiny tiny-qwen2 --max-shard-size 2MB
	run -0 ls "$T"
	assert_equal "$output" "$(jq -r '.weight_map | keys[]' \
		"$CKPT/model.safetensors.index.json" | LC_ALL=C sort)"
	wl_umount "$MNT"
}

@test "cat: every byte of every tensor is its own" {
	mount_tiny tiny-qwen3 --max-shard-size 2MB
	run -0 "$CHECK_STAMPS" "$T"
	assert_output '36 tensors, 7046208 bytes checked, 0 different'
	for file in "$T"/*; do
		assert_equal "$(wc -c <"$file")" "$(stat -c %s "$file")"
	done
	wl_umount "$MNT"
}

@test "stat: exact size, no holes, modes, owner, two links" {
	mount_tiny
	assert_equal "$(stat -c '%s %a %h %F %u' "$T/$EMBED")" \
		"1051136 644 2 regular file $(id -u)"
	assert_equal "$(stat -c '%s %a %h' "$T/model.norm.weight")" '512 644 2'
	for file in "$T"/*; do
		read -r size blocks unit <<<"$(stat -c '%s %b %B' "$file")"
		[ $((blocks * unit)) -ge "$size" ] || fail "'$file': $blocks blocks for $size bytes"
	done
	assert_equal "$(stat -c '%a %F' "$T")" '755 directory'
	wl_umount "$MNT"
}

@test "stat: times are the shard's" {
	make_tiny tiny-llama "$CKPT"
	touch -d '2021-02-03 04:05:06.789 UTC' "$CKPT/model.safetensors"
	wl_mount "$CKPT" "$MNT"
	assert_equal "$(stat -c %Y "$T/$EMBED")" "$(stat -c %Y "$CKPT/model.safetensors")"
	wl_umount "$MNT"
}

@test "stat: an empty tensor has size 0 and a block, so tar stores no hole" {
	make_tensors "$CKPT" <<<$'empty F32 0,7\nscalar F32\nsome U8 3'
	wl_mount "$CKPT" "$MNT"
	assert_equal "$(stat -c %s "$T/empty")" 0
	assert_not_equal "$(stat -c %b "$T/empty")" 0
	assert_equal "$(stat -c %s "$T/scalar")" 4
	run -0 cat "$T/empty"
	assert_output ''
	wl_umount "$MNT"
}

@test "du and find: sizes add up" {
	mount_tiny
	assert_equal "$(find "$T" -type f -printf '%s\n' | awk '{ s += $1 } END { print s }')" 6455808
	run -0 du -s --block-size=1 "$T"
	[ "${output%%[[:space:]]*}" -ge 6455808 ]
	assert_equal "$(find "$T" -type f -size +1000k | wc -l)" 2
	wl_umount "$MNT"
}

@test "cp: a copy of the folder is the tensors" {
	mount_tiny
	cp -r "$T" "$BATS_TEST_TMPDIR/copy"
	run -0 "$CHECK_STAMPS" "$BATS_TEST_TMPDIR/copy"
	assert_output '30 tensors, 6455808 bytes checked, 0 different'
	wl_umount "$MNT"
}

@test "cp: sparse detection and reflinks fall back to reading" {
	mount_tiny
	cp --sparse=always --reflink=auto "$T/$EMBED" "$BATS_TEST_TMPDIR/copy"
	assert_tensor "$BATS_TEST_TMPDIR/copy" "$EMBED"
	wl_umount "$MNT"
}

@test "tar: a round trip keeps every byte, with --sparse too" {
	mount_tiny
	for option in --no-recursion --sparse; do
		mkdir "$BATS_TEST_TMPDIR/out$option"
		(cd "$T" && tar "$option" -cf - -- *) | tar -xf - -C "$BATS_TEST_TMPDIR/out$option"
		run -0 "$CHECK_STAMPS" "$BATS_TEST_TMPDIR/out$option"
		assert_output '30 tensors, 6455808 bytes checked, 0 different'
	done
	wl_umount "$MNT"
}

@test "sha256sum: equals the bytes in the shard" {
	mount_tiny
	offset=$(index_field "$EMBED" offset)
	want=$(tail -c +$((offset + 1)) "$CKPT/model.safetensors" | head -c 1051136 | sha256sum)
	assert_equal "$(sha256sum <"$T/$EMBED")" "$want"
	wl_umount "$MNT"
}

@test "xxd: any offset and length" {
	mount_tiny
	xxd -p "$T/$EMBED" | tr -d '\n' >"$BATS_TEST_TMPDIR/hex"
	for at in 0 1 7 4095 4096 524287 1051135; do
		run -0 xxd -p -s "$at" -l 16 "$T/$EMBED"
		assert_output "$(tail -c +$((2 * at + 1)) "$BATS_TEST_TMPDIR/hex" | head -c 32)"
	done
	wl_umount "$MNT"
}

@test "read: past the end gives nothing" {
	mount_tiny
	run -0 dd if="$T/$EMBED" bs=1051136 skip=1 status=none
	assert_output ''
	run -0 tail -c +1051137 "$T/$EMBED"
	assert_output ''
	wl_umount "$MNT"
}

@test "dd: O_DIRECT reads every byte" {
	mount_tiny
	run -0 "$PROBE" direct "$T/$EMBED" "$EMBED"
	assert_output 1051136
	dd if="$T/$EMBED" iflag=direct bs=64K of="$BATS_TEST_TMPDIR/copy" status=none
	assert_tensor "$BATS_TEST_TMPDIR/copy" "$EMBED"
	wl_umount "$MNT"
}

# What is read ahead of readers who go through a file must be what they would have read.
@test "read: by pieces of any size, turned around or beside others, every byte is its own" {
	make_tensors "$CKPT" <<<$'a U8 5242905\nb BF16 3000001\nc U8 1048576'
	wl_mount "$CKPT" "$MNT"
	seed=${SEED:-$RANDOM}
	echo "SEED=$seed"
	run -0 python3 - "$seed" "$CKPT/model.safetensors" "$MNT/.wload/index.jsonl" "$MNT" <<-'PY'
		import json, mmap, os, random, sys, threading
		seed, shard, index, mnt = sys.argv[1:]
		bytes_of = open(shard, "rb").read()
		rows = [json.loads(line) for line in open(index)][1:]
		sizes = [262143, 262144, 300001, 1048575, 1048576, 1048577, 3 << 20]
		wrong = []

		# A buffer inside a page makes two requests of a read, one on a page's border only one.
		def pread(fd, size, at, aligned):
		    if not aligned:
		        return os.pread(fd, size, at)
		    with mmap.mmap(-1, size) as buffer:
		        return buffer[:os.preadv(fd, [buffer], at)]

		def walk(rng, path, want):
		    fd = os.open(path, os.O_RDONLY)
		    aligned = rng.random() < 0.5
		    size = rng.choice(sizes)
		    at = rng.choice([0, 0, rng.randrange(len(want))])
		    for _ in range(12):
		        got = pread(fd, size, at, aligned)
		        if got != want[at:at + size]:
		            wrong.append((path, at, size, len(got)))
		        kind = rng.randrange(8)
		        if kind == 0:
		            size = rng.choice(sizes)
		        at = rng.randrange(len(want)) if kind == 1 else 0 if kind == 2 else at + size
		    os.close(fd)

		def reader(number):
		    rng = random.Random(f"{seed} {number}")
		    for _ in range(15):
		        row = rng.choice(rows)
		        want = bytes_of[row["offset"]:row["offset"] + row["bytes"]]
		        path = os.path.join(mnt, "tensors", row["file"])
		        if rng.random() < 0.3:
		            path = os.path.join(mnt, "npy", row["file"] + ".npy")
		            want = open(path, "rb").read(os.path.getsize(path) - row["bytes"]) + want
		        walk(rng, path, want)

		for count in 1, 4:
		    threads = [threading.Thread(target=reader, args=(n,)) for n in range(count)]
		    [t.start() for t in threads]
		    [t.join() for t in threads]
		print(wrong)
	PY
	assert_output '[]'
	wl_umount "$MNT"
}

@test "read: random and parallel, through one descriptor" {
	mount_tiny
	seed=${SEED:-$RANDOM}
	echo "SEED=$seed"
	run -0 "$PROBE" random "$T/$EMBED" "$EMBED" "$seed" 8 200
	wl_umount "$MNT"
}

@test "read: many processes, many tensors" {
	mount_tiny
	pids=()
	for i in 1 2 3 4; do
		"$CHECK_STAMPS" "$T" >"$BATS_TEST_TMPDIR/out.$i" 2>&1 &
		pids+=($!)
	done
	wait "${pids[@]}"
	for i in 1 2 3 4; do
		run -0 cat "$BATS_TEST_TMPDIR/out.$i"
		assert_output '30 tensors, 6455808 bytes checked, 0 different'
	done
	wl_umount "$MNT"
}

@test "read: fio verifies nothing is lost under load" {
	mount_tiny
	run -0 fio --name=read --filename="$T/$EMBED" --readonly --rw=randread --bs=4k-128k \
		--numjobs=4 --ioengine=psync --time_based --runtime=2 --minimal --thread
	run -0 "$PROBE" stamps "$T/$EMBED" "$EMBED"
	wl_umount "$MNT"
}

@test "mmap: private and shared give every byte" {
	mount_tiny
	for kind in private shared; do
		run -0 "$PROBE" map "$kind" "$T/$EMBED" "$EMBED"
		assert_output 1051136
	done
	wl_umount "$MNT"
}

@test "mmap: private copies may be written, the file stays" {
	require numpy
	mount_tiny
	run -0 "$PYTHON" - "$T/$EMBED" <<-'PY'
		import mmap, sys
		with open(sys.argv[1], "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY) as m:
		    m[0:4096] = b"x" * 4096
		    print(m[0:4] == b"xxxx")
	PY
	assert_output True
	assert_tensor "$T/$EMBED" "$EMBED"
	wl_umount "$MNT"
}

@test "open: a name that is no tensor is ENOENT" {
	mount_tiny
	assert_errno ENOENT stat "$T/model.norm"
	assert_errno ENOENT stat "$T/model.norm.weight.npy"
	assert_errno ENOTDIR stat "$T/model.norm.weight/x"
	wl_umount "$MNT"
}

@test "index.jsonl: names the shards, then every tensor with its place" {
	mount_tiny tiny-llama --max-shard-size 2MB
	index=$MNT/.wload/index.jsonl
	assert_equal "$(head -n1 "$index" | jq -r '.tensors, (.shards | length)' | xargs)" '30 4'
	assert_equal "$(head -n1 "$index" | jq -r .checkpoint)" "$(realpath "$CKPT")"
	assert_equal "$(wc -l <"$index")" 31
	while read -r file shard offset bytes; do
		path=$(head -n1 "$index" | jq -r ".shards[$shard].path")
		cmp <(tail -c +$((offset + 1)) "$path" | head -c "$bytes") "$T/$file"
	done < <(tail -n +2 "$index" | jq -r '[.file, .shard, .offset, .bytes] | @tsv')
	for shard in 0 1 2 3; do
		read -r path dev ino bytes < <(head -n1 "$index" |
			jq -r ".shards[$shard] | [.path, .dev, .ino, .bytes] | @tsv")
		assert_equal "$dev $ino $bytes" "$(stat -c '%d %i %s' "$path")"
	done
	wl_umount "$MNT"
}

@test "stats.json: is one JSON object with the daemon's pid" {
	mount_tiny
	assert_equal "$(stats_field pid)" "${WL_PIDS[$MNT]}"
	assert_equal "$(stats_field consumed_tensors) $(stats_field consumed_bytes)" '0 0'
	wl_umount "$MNT"
}
