#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# wload load --timeline: the picture is whole or not there, and refused before a byte is read.

load helper

setup() {
	wl_paths
	SVG=$BATS_TEST_TMPDIR/pictures/load.svg
	mkdir "${SVG%/*}"
}

teardown() {
	wl_cleanup
}

# Nothing but what is named is in the pictures' folder.
assert_files() { assert_equal "$(ls -A "${SVG%/*}")" "$*"; }

assert_picture() {
	run -0 python3 -c 'import sys, xml.dom.minidom
print(xml.dom.minidom.parse(sys.argv[1]).documentElement.tagName)' "$1"
	assert_output svg
}

# refused LINE FILE: in one line, with nothing read, consumed or made.
refused() {
	run --separate-stderr -1 "$WLOAD" "$MNT" --device host --timeline "$2"
	# shellcheck disable=SC2154 # run sets stderr
	assert_equal "$stderr" "wload: $1"
	assert_equal "$(stats_field consumed_tensors)" 0
	assert_files load.svg
}

@test "timeline: a picture of the load, with the checkpoint's size and what reached the device" {
	require fuse
	mount_tiny
	run -0 "$WLOAD" "$MNT" --device null --quiet --timeline "$SVG"
	assert_picture "$SVG"
	run -0 cat "$SVG"
	assert_output --partial 'the checkpoint, 6.46 MB'
	assert_output --partial 'bytes that reached the device: 6.46 MB at the end'
	assert_output --partial "Loading &#39;$MNT&#39; to null"
	assert_files load.svg
	wl_umount "$MNT"
}

@test "timeline: a picture that is there is replaced as a whole, through a link too" {
	make_tiny tiny-llama "$CKPT"
	echo before >"$SVG"
	ln -s load.svg "${SVG%/*}/link.svg"
	chmod 640 "$SVG"
	run -0 "$WLOAD" "$CKPT" --device host --quiet --timeline "${SVG%/*}/link.svg"
	assert_picture "$SVG"
	assert_equal "$(readlink "${SVG%/*}/link.svg")" load.svg
	rm "${SVG%/*}/link.svg"
	assert_files load.svg
}

@test "timeline: of a name as long as names may be" {
	make_tiny tiny-llama "$CKPT"
	local name
	name=$(printf 'x%.0s' {1..251}).svg
	run -0 "$WLOAD" "$CKPT" --device host --quiet --timeline "${SVG%/*}/$name"
	assert_picture "${SVG%/*}/$name"
	assert_files "$name"
}

@test "timeline: a full disk is told, the picture that was there stays, and so does the report" {
	require fuse
	local full=$BATS_TEST_TMPDIR/full
	mount_tiny
	mkdir "$full"
	mount -t tmpfs -o size=8k none "$full" || skip "no tmpfs can be mounted here"
	echo before >"$full/load.svg"
	fallocate -l 4096 "$full/other"
	run --separate-stderr -1 "$WLOAD" "$MNT" --device null --json --quiet \
		--timeline "$full/load.svg"
	left=$(ls -A "$full") was=$(cat "$full/load.svg")
	umount "$full"
	assert_equal "$left $was" $'load.svg\nother before'
	# shellcheck disable=SC2154 # run sets stderr
	assert_equal "$stderr" "wload: '$full/load.svg' can't be written: No space left on device"
	assert_equal "$(jq .consumed_tensors <<<"$output")" 30
	wl_umount "$MNT"
}

@test "timeline: a file that can't be written is refused before anything is read" {
	require fuse
	mount_tiny
	echo before >"$SVG"
	refused "'$SVG.d/x.svg' can't be written: No such file or directory" "$SVG.d/x.svg"
	refused "'${SVG%/*}' can't be written: it is not a regular file" "${SVG%/*}"
	refused "'/dev/null' can't be written: it is not a regular file" /dev/null
	refused "'$SVG/x.svg' can't be written: Not a directory" "$SVG/x.svg"
	ln -s nothing "$SVG.link"
	run --separate-stderr -1 "$WLOAD" "$MNT" --device host --timeline "$SVG.link"
	assert_equal "$stderr" "wload: '$SVG.link' can't be written: it is a link to nothing"
	rm "$SVG.link"
	refused "'$MNT/load.svg' can't be written: Read-only file system" "$MNT/load.svg"
	assert_equal "$(cat "$SVG")" before
	wl_umount "$MNT"
}

@test "timeline: a load that fails or is interrupted leaves the picture that was there" {
	local rc=0

	require fuse
	mount_tiny
	echo before >"$SVG"
	rm "$MNT/tensors/model.norm.weight"
	run -1 "$WLOAD" "$MNT" --device host --quiet --timeline "$SVG"
	assert_files load.svg
	wl_umount "$MNT"
	make_tensors "$BATS_TEST_TMPDIR/large" --sparse <<<'big F32 1000000,1000000'
	"$WLOAD" "$BATS_TEST_TMPDIR/large" --device null --quiet --timeline "$SVG" &
	wait_until "compgen -G '${SVG%/*}/.*.partial' >/dev/null"
	kill -TERM $!
	wait $! || rc=$?
	assert_equal "$rc" 143
	assert_files load.svg
	assert_equal "$(cat "$SVG")" before
}
