#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# -o prefetch=: what is read ahead, in which order, and what gives credit for more. The witnesses are
# mincore and fincore on the shard.

load helper

setup() {
	require fuse disk
	wl_paths
	SHARD=$CKPT/model.safetensors
	MOST=$((2 << 20))
}

teardown() {
	wl_cleanup
}

prefetch_field() { jq -r --arg field "$1" '.prefetch[$field]' "$MNT/.wload/stats.json"; }

# An evicted checkpoint, mounted.
mount_cold() {
	sync "$CKPT"/*
	python3 -c 'import os, sys
for path in sys.argv[1:]: os.posix_fadvise(os.open(path, os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)' "$CKPT"/*
	wl_mount "$CKPT" "$MNT" "$@"
}

# The prefetch has stopped: full, or done.
settled() {
	local before
	before=$(prefetch_field read_bytes)
	sleep 0.3 # long for a thread that reads from a disk, and nothing says that it is done
	[ "$before" != 0 ] && [ "$before" = "$(prefetch_field read_bytes)" ]
}

# Bytes of the shard in the page cache.
cached() {
	local bytes
	bytes=$(fincore -b -n -o RES "$SHARD")
	echo $((bytes))
}

# resident_pages NAME: of the pages wholly inside a tensor, cached ones and all.
resident_pages() {
	local begin end
	begin=$(index_field "$1" offset)
	end=$(((begin + $(index_field "$1" bytes)) / 4096 * 4096))
	begin=$(((begin + 4095) / 4096 * 4096))
	[ "$begin" -lt "$end" ] || { echo 0/0; return; }
	echo "$("$PROBE" resident "$SHARD" "$begin" $((end - begin)))/$(((end - begin) / 4096))"
}

@test "prefetch: reads in the plan's order, no further than its limit, and consumption gives credit" {
	make_tiny tiny-llama "$CKPT"
	mount_cold -o prefetch=2M
	wait_until settled
	assert [ "$(prefetch_field ahead_bytes)" -le "$MOST" ]
	assert [ "$(prefetch_field ahead_bytes)" -gt $((MOST - (256 << 10))) ]
	assert [ "$(cached)" -le $((MOST + 65536)) ] # pages that tensors share, and the header
	# The plan says which come first; by them the credit is given back.
	mapfile -t order < <("$WLOAD" plan "$CKPT" --json | jq -r '.parameters[].sources[].tensor')
	[ "${#order[@]}" -gt 10 ] || fail "a plan of ${#order[@]} tensors"
	pages=$(resident_pages "${order[0]}")
	assert_equal "${pages%/*}" "${pages#*/}"
	pages=$(resident_pages "${order[-1]}")
	assert_equal "${pages%/*}" 0
	for name in "${order[@]}"; do
		rm "$MNT/tensors/$name"
		pages=$(resident_pages "$name")
		assert_equal "${pages%/*}" 0
		assert [ "$(prefetch_field ahead_bytes)" -le "$MOST" ]
	done
	assert_equal "$(prefetch_field ahead_bytes)" 0
	assert_equal "$(stats_field held_bytes)" 0
	wl_umount "$MNT"
}

@test "prefetch: restore makes what was consumed worth reading again" {
	make_tiny tiny-llama "$CKPT"
	mount_cold -o prefetch=64M
	wait_until settled
	read_bytes=$(prefetch_field read_bytes)
	assert_equal "$(prefetch_field ahead_bytes)" "$read_bytes"
	control 'all\n'
	assert_equal "$(prefetch_field ahead_bytes) $(cached)" '0 0'
	control 'restore\n'
	# shellcheck disable=SC2016 # a condition, evaluated there
	wait_until '[ "$(prefetch_field ahead_bytes)" = "$read_bytes" ]'
	wl_umount "$MNT"
}

@test "prefetch: with consume=read or a budget, what was read gives credit" {
	for options in consume=read budget=24M; do
		rm -rf "$CKPT"
		make_tensors "$CKPT" < <(for i in {1..20}; do echo "t.$i U8 1500001"; done)
		mount_cold -o "prefetch=4M,$options"
		wait_until settled
		cmp <(cat "$MNT/model.safetensors") "$SHARD"
		assert [ "$(prefetch_field ahead_bytes)" -le $((4 << 20)) ]
		assert [ "$(prefetch_field read_bytes)" -gt $((4 << 20)) ]
		wait_until settled
		assert_equal "$(prefetch_field ahead_bytes)" 0
		wl_umount "$MNT"
	done
}

@test "prefetch: never in the way of consumption, and ends with the mount" {
	make_tensors "$CKPT" --sparse < <(for i in {1..64}; do echo "t.$i U8 67108864"; done)
	for how in umount TERM; do
		mount_cold -o prefetch=1G
		# shellcheck disable=SC2016 # a condition, evaluated there
		wait_until '[ "$(prefetch_field read_bytes)" -gt 0 ]'
		for i in 3 1 2; do
			rm "$MNT/tensors/t.$i"
			pages=$(resident_pages "t.$i")
			assert_equal "${pages%/*}" 0
		done
		if [ $how = TERM ]; then
			kill -TERM "${WL_PIDS[$MNT]}"
			wl_ended "$MNT"
		else
			wl_umount "$MNT"
		fi
	done
}

# Each tensor is removed about when it is read ahead: whichever comes first, nothing of it stays.
@test "prefetch: a tensor that is being read ahead while it is consumed leaves nothing" {
	make_tensors "$CKPT" < <(for i in {10..73}; do echo "t.$i U8 262144"; done)
	mount_cold -o prefetch=1M
	run -0 timeout 50 python3 - "$MNT" "$SHARD" <<-'PY'
		import ctypes, mmap, os, sys
		mnt, shard = sys.argv[1:]
		libc = ctypes.CDLL(None, use_errno=True)

		def cached():
		    with open(shard, "rb") as file:
		        m = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
		    pages = (ctypes.c_ubyte * ((len(m) + 4095) // 4096))()
		    address = ctypes.addressof(ctypes.c_char.from_buffer(m))
		    if libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(len(m)), pages):
		        raise OSError(ctypes.get_errno(), "mincore")
		    return sum(p & 1 for p in pages)

		left = []
		for _ in range(40):
		    for i in range(10, 74):
		        os.unlink(f"{mnt}/tensors/t.{i}")
		    left.append(cached())
		    with open(f"{mnt}/.wload/consume", "r+b", buffering=0) as control:
		        control.write(b"restore\n")
		print(sum(left), len(left))
	PY
	assert_output '0 40'
	wl_umount "$MNT"
}
