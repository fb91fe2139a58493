#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# What the checkpoint lies on: layers of a container image (overlayfs), tmpfs, ext4, xfs. Each is
# served right, by passthrough where the kernel can, and evicted from where there is something to.

load helper

setup() {
	require fuse root
	wl_paths
	T=$MNT/tensors
}

# Mounts of other kinds too; a loop device goes with its mount.
teardown() {
	wl_cleanup
}

# Overlays are stacked on what the tests' folder is on; a container's root is an overlay itself.
require_plain_folder() {
	[ "$(stat -f -c %T "$BATS_TEST_TMPDIR")" != overlayfs ] || skip 'the tests run on overlayfs'
}

# overlay NAME LOWER…: mounts folders over each other, the first on top; nothing can be written.
overlay() {
	local at=$BATS_TEST_TMPDIR/$1
	shift
	mkdir -p "$at"
	mount -t overlay -o "lowerdir=$(IFS=:; echo "$*")" none "$at" || skip 'no overlayfs here'
}

# Fills a folder with a checkpoint whose pages are clean.
fill() {
	make_tiny tiny-llama "$1" --max-shard-size 4MB
	sync -f "$1"
}

# Every byte of every view, and a consumption of everything.
assert_served_right() {
	local from=$1 file
	for file in "$from"/*; do
		cmp "$file" "$MNT/${file##*/}"
	done
	"$CHECK_STAMPS" --quiet "$MNT" "$T"
	assert_tensor "$MNT/modules/model/norm/weight" model.norm.weight
	run -0 "$PROBE" map shared "$T/lm_head.weight" lm_head.weight
	assert_equal "$(count_files "$T")" 30
}

resident_of_shards() {
	local shard sum=0
	for shard in "$1"/*.safetensors; do
		sum=$((sum + $("$PROBE" resident "$shard")))
	done
	echo "$sum"
}

# Consumes all of a checkpoint whose shards are cached; nothing of them is left.
assert_consumed_away() {
	cat "$1"/*.safetensors >/dev/null
	assert [ "$(resident_of_shards "$1")" -gt 1500 ]
	rm "$T"/*
	assert_equal "$(resident_of_shards "$1")" 0
	assert_equal "$(stats_field resident_bytes) $(stats_field held_bytes)" '0 0'
	assert [ "$(stats_field evicted_bytes)" -gt 6000000 ]
}

@test "overlayfs: one tensor's pages are dropped from the layer, its neighbours' are not" {
	require disk
	require_plain_folder
	fill "$BATS_TEST_TMPDIR/lower/ckpt"
	mkdir "$BATS_TEST_TMPDIR/other"
	overlay merged "$BATS_TEST_TMPDIR/lower" "$BATS_TEST_TMPDIR/other"
	wl_mount "$BATS_TEST_TMPDIR/merged/ckpt" "$MNT"
	name=model.layers.0.mlp.up_proj.weight
	shard=$(head -n1 "$MNT/.wload/index.jsonl" |
		jq -r --argjson n "$(index_field "$name" shard)" '.shards[$n].name')
	shard=$BATS_TEST_TMPDIR/lower/ckpt/$shard
	begin=$(index_field "$name" offset) bytes=$(index_field "$name" bytes)
	first=$(((begin + 4095) / 4096 * 4096)) last=$(((begin + bytes) / 4096 * 4096))
	cat "$MNT/${shard##*/}" >/dev/null
	all=$("$PROBE" resident "$shard")
	rm "$T/$name"
	assert_equal "$("$PROBE" resident "$shard" "$first" $((last - first)))" 0
	assert [ "$("$PROBE" resident "$shard")" -ge $((all - (last - first) / 4096 - 2)) ]
	wl_umount "$MNT"
}

@test "overlayfs: an upper layer that was just written is let go" {
	require disk
	require_plain_folder
	mkdir -p "$BATS_TEST_TMPDIR"/{lower,upper,work,merged}
	mount -t overlay -o "lowerdir=$BATS_TEST_TMPDIR/lower,upperdir=$BATS_TEST_TMPDIR/upper,workdir=$BATS_TEST_TMPDIR/work" \
		none "$BATS_TEST_TMPDIR/merged" || skip 'no overlayfs here'
	make_tiny tiny-llama "$BATS_TEST_TMPDIR/merged/ckpt" --max-shard-size 4MB
	wl_mount "$BATS_TEST_TMPDIR/merged/ckpt" "$MNT"
	assert_consumed_away "$BATS_TEST_TMPDIR/upper/ckpt"
	wl_umount "$MNT"
}
