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
	STATS=$MNT/.wload/stats.json
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

@test "overlayfs: a checkpoint in an image's layers is passed through" {
	require disk
	require_plain_folder
	fill "$BATS_TEST_TMPDIR/lower/ckpt"
	mkdir "$BATS_TEST_TMPDIR/other"
	overlay merged "$BATS_TEST_TMPDIR/other" "$BATS_TEST_TMPDIR/lower"
	require_passthrough
	wl_mount "$BATS_TEST_TMPDIR/merged/ckpt" "$MNT" -o shards=passthrough
	assert_served_right "$BATS_TEST_TMPDIR/lower/ckpt"
	assert_equal "$(jq -c '.shards | [.mode, .why, .served_opens]' "$STATS")" \
		'["passthrough",null,0]'
	assert_consumed_away "$BATS_TEST_TMPDIR/lower/ckpt"
	wl_umount "$MNT"
}

@test "overlayfs: layers on layers are too deep for passthrough: served, and said so" {
	require disk
	require_plain_folder
	fill "$BATS_TEST_TMPDIR/lower/ckpt"
	mkdir "$BATS_TEST_TMPDIR"/{other,another}
	overlay merged "$BATS_TEST_TMPDIR/other" "$BATS_TEST_TMPDIR/lower"
	overlay twice "$BATS_TEST_TMPDIR/merged" "$BATS_TEST_TMPDIR/another"
	require_passthrough
	wl_mount "$BATS_TEST_TMPDIR/twice/ckpt" "$MNT"
	assert_served_right "$BATS_TEST_TMPDIR/lower/ckpt"
	why='the files lie on filesystems that are stacked too deep'
	assert_equal "$(jq -c '.shards | [.mode, .why, .passthrough_opens]' "$STATS")" \
		"[\"served\",\"$why\",0]"
	assert_equal "$(jq -c .features.passthrough "$STATS")" "{\"on\":false,\"why\":\"$why\"}"
	assert_consumed_away "$BATS_TEST_TMPDIR/lower/ckpt"
	wl_umount "$MNT"
	wl_mount "$BATS_TEST_TMPDIR/twice/ckpt" "$MNT" -o shards=passthrough
	assert_errno ELOOP open-read "$MNT/model-00001-of-00002.safetensors"
	wl_umount "$MNT"
}

@test "tmpfs: served right, and consumption is answered" {
	mkdir "$BATS_TEST_TMPDIR/memory"
	mount -t tmpfs none "$BATS_TEST_TMPDIR/memory" || skip 'no tmpfs may be mounted'
	fill "$BATS_TEST_TMPDIR/memory/ckpt"
	wl_mount "$BATS_TEST_TMPDIR/memory/ckpt" "$MNT"
	assert_served_right "$BATS_TEST_TMPDIR/memory/ckpt"
	rm "$T"/*
	assert_equal "$(count_files "$T")" 0
	# shellcheck disable=SC2016 # a condition, evaluated there
	wait_until '[ "$(stats_field held_bytes)" -gt 6000000 ]' # counted exactly once a second
	assert_equal "$(stats_field evicted_bytes)" 0
	wl_umount "$MNT"
}

# on_loop TYPE MKFS…: a filesystem of its own in a file, at $BATS_TEST_TMPDIR/disk.
on_loop() {
	local type=$1 image=$BATS_TEST_TMPDIR/image
	shift
	command -v "$1" >/dev/null || PATH=$PATH:/usr/sbin:/sbin
	command -v "$1" >/dev/null || lacks "$type" "no $1 here"
	truncate -s 320M "$image"
	"$@" -q "$image"
	mkdir "$BATS_TEST_TMPDIR/disk"
	mount -t "$type" -o loop "$image" "$BATS_TEST_TMPDIR/disk" ||
		lacks "$type" "no $type can be mounted from a loop device here"
}

# Twice: the caches are as cold the second time as a new mount of the disk makes them.
assert_right_on_loop() {
	local from=$BATS_TEST_TMPDIR/disk/ckpt

	require disk
	fill "$from"
	wl_mount "$from" "$MNT"
	assert_served_right "$from"
	assert_consumed_away "$from"
	wl_umount "$MNT"
	umount "$BATS_TEST_TMPDIR/disk"
	mount -o loop "$BATS_TEST_TMPDIR/image" "$BATS_TEST_TMPDIR/disk"
	wl_mount "$from" "$MNT"
	assert_served_right "$from"
	wl_umount "$MNT"
	umount "$BATS_TEST_TMPDIR/disk"
	assert_equal "$(losetup -j "$BATS_TEST_TMPDIR/image")" ''
}

@test "ext4: on a disk of its own, served right, cold too" {
	on_loop ext4 mkfs.ext4
	assert_right_on_loop
}

@test "xfs: on a disk of its own, served right, cold too" {
	on_loop xfs mkfs.xfs
	assert_right_on_loop
}
