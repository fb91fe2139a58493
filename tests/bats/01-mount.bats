#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# The mount's life: it answers when wloadfs returns, ends cleanly however it is told to, and a
# failure leaves one line, the right status and nothing mounted.

load helper

setup() {
	require fuse
	wl_paths
}

teardown() {
	wl_cleanup
}

# refuses STATUS WORDS ARGS…: wloadfs fails with one line that says so, and mounts nothing.
refuses() {
	local status=$1 words=$2
	shift 2
	run -"$status" --separate-stderr timeout "$WL_DEADLINE" "$WLOADFS" "$@" 3>&-
	assert_equal "$output" ''
	# shellcheck disable=SC2154 # bats sets it
	assert_equal "${#stderr_lines[@]}" 1
	# shellcheck disable=SC2154 # bats sets it
	assert_regex "$stderr" '^wloadfs: '
	assert_regex "$stderr" "$words"
	run ! is_mounted "$MNT"
}

@test "mount: foreground mount shows the checkpoint and unmounts cleanly" {
	mount_tiny
	assert_exists "$MNT/config.json"
	assert_equal "$(count_files "$MNT/tensors")" 30
	run -0 findmnt -no FSTYPE "$MNT"
	assert_output fuse.wloadfs
	wl_umount "$MNT"
	assert_equal "$(find "$MNT" | wc -l)" 1
}

@test "mount: a daemon's mount answers as soon as wloadfs returns" {
	make_tiny tiny-llama "$CKPT"
	"$WLOADFS" "$CKPT" "$MNT" 3>&-
	assert_exists "$MNT/tensors/model.norm.weight"
	pid=$(stats_field pid)
	is_running "$pid"
	fusermount3 -u "$MNT"
	wait_until "! is_running $pid"
}

@test "mount: the daemon keeps no folder busy and no terminal" {
	make_tiny tiny-llama "$CKPT"
	"$WLOADFS" "$CKPT" "$MNT" 3>&-
	pid=$(stats_field pid)
	assert_equal "$(readlink "/proc/$pid/cwd")" /
	for fd in 0 1 2; do
		assert_equal "$(readlink "/proc/$pid/fd/$fd")" /dev/null
	done
	fusermount3 -u "$MNT"
	wait_until "! is_running $pid"
}

@test "mount: relative paths work for a daemon" {
	make_tiny tiny-llama "$CKPT"
	cd "$BATS_TEST_TMPDIR"
	"$WLOADFS" ckpt mnt 3>&-
	assert_tensor mnt/tensors/model.norm.weight model.norm.weight
	cmp "ckpt/config.json" mnt/config.json
	pid=$(stats_field pid)
	fusermount3 -u mnt
	wait_until "! is_running $pid"
}

@test "mount: SIGTERM unmounts and ends with 0" {
	mount_tiny
	kill -TERM "${WL_PIDS[$MNT]}"
	wl_ended "$MNT"
}

@test "mount: SIGINT unmounts and ends with 0" {
	mount_tiny
	kill -INT "${WL_PIDS[$MNT]}"
	wl_ended "$MNT"
}

@test "mount: umount(8) ends the daemon with 0" {
	require root
	mount_tiny
	umount "$MNT"
	wl_ended "$MNT"
}

# By mount(8)'s helper, since mount(8) itself looks only in the system's folders for wloadfs.
@test "mount: mount -t fuse.wloadfs works" {
	require root
	make_tiny tiny-llama "$CKPT"
	PATH=$WL_BUILD:$PATH:/usr/sbin:/sbin \
		mount.fuse3 "$CKPT" "$MNT" -t fuse.wloadfs -o rw,nosuid 3>&-
	assert_tensor "$MNT/tensors/model.norm.weight" model.norm.weight
	pid=$(stats_field pid)
	umount "$MNT"
	wait_until "! is_running $pid"
}

@test "mount: FUSE options are taken: -s, -d, -o allow_other" {
	require root
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT" "$MNT" -s
	assert_tensor "$MNT/tensors/model.norm.weight" model.norm.weight
	wl_umount "$MNT"
	wl_mount "$CKPT" "$MNT" -d
	assert_tensor "$MNT/tensors/model.norm.weight" model.norm.weight
	wl_umount "$MNT"
	wl_mount "$CKPT" "$MNT" -o allow_other
	run -0 findmnt -no OPTIONS "$MNT"
	assert_output --partial allow_other
	assert_output --partial default_permissions
	wl_umount "$MNT"
}

@test "mount: with allow_other another user reads but can't consume" {
	require root
	make_tiny tiny-llama "$CKPT"
	chmod 711 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" "$BATS_TEST_TMPDIR"
	wl_mount "$CKPT" "$MNT" -o allow_other
	other=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	"${other[@]}" test -x "$MNT" || skip "user 65534 can't reach '$BATS_TEST_TMPDIR'"
	"${other[@]}" cat "$MNT/tensors/model.norm.weight" >/dev/null
	run ! "${other[@]}" rm -f "$MNT/tensors/model.norm.weight"
	run ! "${other[@]}" sh -c "echo all >'$MNT/.wload/consume'"
	assert_exists "$MNT/tensors/model.norm.weight"
	assert_equal "$(stats_field consumed_tensors)" 0
	wl_umount "$MNT"
}

@test "mount: one .safetensors file is a checkpoint too" {
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT/model.safetensors" "$MNT"
	assert_equal "$(count_files "$MNT/tensors")" 30
	assert_tensor "$MNT/tensors/lm_head.weight" lm_head.weight
	cmp "$CKPT/model.safetensors" "$MNT/model.safetensors"
	wl_umount "$MNT"
}

@test "mount: shards without an index are all taken, consolidated* left out" {
	make_tiny tiny-llama "$CKPT" --max-shard-size 2MB
	rm "$CKPT/model.safetensors.index.json"
	make_tensors "$BATS_TEST_TMPDIR/more" --stem consolidated <<<'other.weight U8 4'
	cp "$BATS_TEST_TMPDIR/more/consolidated.safetensors" "$CKPT"
	wl_mount "$CKPT" "$MNT"
	assert_equal "$(count_files "$MNT/tensors")" 30
	assert_exists "$MNT/consolidated.safetensors"
	wl_umount "$MNT"
}

@test "mount: the same checkpoint can be mounted twice" {
	mount_tiny
	wl_mount "$CKPT" "$MNT-2"
	rm "$MNT/tensors/lm_head.weight"
	assert_tensor "$MNT-2/tensors/lm_head.weight" lm_head.weight
	wl_umount "$MNT-2"
	wl_umount "$MNT"
}

@test "usage: help and version end with 0" {
	run -0 "$WLOADFS" -h
	assert_output --partial CHECKPOINT
	run -0 "$WLOADFS" --help
	run -0 "$WLOADFS" --version
}

@test "usage: errors end with 2" {
	run -2 "$WLOADFS"
	run -2 "$WLOADFS" "$CKPT"
	run -2 "$WLOADFS" --no-such-option "$CKPT" "$MNT"
	run -2 "$WLOADFS" a b c
}

@test "mount: a checkpoint that is not there" {
	refuses 1 "'$CKPT/none'" "$CKPT/none" "$MNT"
	refuses 1 "'$CKPT/none'" -f "$CKPT/none" "$MNT"
}

@test "mount: a folder without shards" {
	mkdir "$CKPT"
	echo '{}' >"$CKPT/config.json"
	refuses 1 "$CKPT" "$CKPT" "$MNT"
}

@test "mount: a mountpoint that is not there, or no folder" {
	make_tiny tiny-llama "$CKPT"
	refuses 1 "$MNT/none" "$CKPT" "$MNT/none"
	touch "$BATS_TEST_TMPDIR/file"
	refuses 1 "$BATS_TEST_TMPDIR/file" "$CKPT" "$BATS_TEST_TMPDIR/file"
}

@test "mount: a truncated shard is named with its size" {
	make_tiny tiny-llama "$CKPT"
	truncate -s -1 "$CKPT/model.safetensors"
	refuses 1 'model.safetensors.*6455808.*6455807' "$CKPT" "$MNT"
}

@test "mount: an empty shard, a cut header, a header that is no JSON" {
	make_tiny tiny-llama "$CKPT"
	: >"$CKPT/model.safetensors"
	refuses 1 model.safetensors "$CKPT" "$MNT"
	printf '\xff\xff\x00\x00\x00\x00\x00\x00{}' >"$CKPT/model.safetensors"
	refuses 1 model.safetensors "$CKPT" "$MNT"
	printf '\x08\x00\x00\x00\x00\x00\x00\x00not JSON' >"$CKPT/model.safetensors"
	refuses 1 model.safetensors "$CKPT" "$MNT"
}

@test "mount: an index that names a shard that is not there" {
	make_tiny tiny-llama "$CKPT" --max-shard-size 2MB
	rm "$CKPT/model-00003-of-00004.safetensors"
	refuses 1 model-00003-of-00004.safetensors "$CKPT" "$MNT"
}

@test "mount: an index that names a tensor that its shard lacks" {
	make_tiny tiny-llama "$CKPT" --max-shard-size 2MB
	sed -i 's/"lm_head.weight"/"lm_foot.weight"/' "$CKPT/model.safetensors.index.json"
	refuses 1 lm_foot.weight "$CKPT" "$MNT"
}

@test "mount: an index that points outside of the folder" {
	make_tiny tiny-llama "$CKPT" --max-shard-size 2MB
	mv "$CKPT/model-00004-of-00004.safetensors" "$BATS_TEST_TMPDIR"
	sed -i 's|"model-00004|"../model-00004|' "$CKPT/model.safetensors.index.json"
	refuses 1 '\.\./model-00004' "$CKPT" "$MNT"
}

@test "mount: an unknown data type is named" {
	make_tiny tiny-llama "$CKPT"
	sed -i '1s/"BF16"/"BF61"/' "$CKPT/model.safetensors"
	refuses 1 BF61 "$CKPT" "$MNT"
}

@test "mount: a stale mountpoint is explained, and usable after fusermount3 -u" {
	mount_tiny
	kill -KILL "${WL_PIDS[$MNT]}"
	wait_until "! is_running ${WL_PIDS[$MNT]}"
	run -1 --separate-stderr "$WLOADFS" "$CKPT" "$MNT" 3>&-
	# shellcheck disable=SC2154 # bats sets it
	assert_regex "$stderr" '^wloadfs: '
	assert_regex "$stderr" 'fusermount3 -u'
	fusermount3 -u "$MNT"
	unset "WL_PIDS[$MNT]"
	wl_mount "$CKPT" "$MNT"
	wl_umount "$MNT"
}

@test "mount: reads in flight do not keep SIGTERM from ending the daemon" {
	mount_tiny
	exec {held}<"$MNT/tensors/lm_head.weight"
	kill -TERM "${WL_PIDS[$MNT]}"
	wl_ended "$MNT"
	exec {held}<&-
}

@test "mount: the checkpoint is not touched" {
	make_tiny tiny-llama "$CKPT"
	before=$(find "$CKPT" -type f -printf '%P %s %T@\n' | sort; sha256sum "$CKPT"/*)
	wl_mount "$CKPT" "$MNT"
	rm -r "$MNT/modules/model/layers/0"
	cat "$MNT"/tensors/* >/dev/null
	control 'all\n'
	wl_umount "$MNT"
	assert_equal "$(find "$CKPT" -type f -printf '%P %s %T@\n' | sort; sha256sum "$CKPT"/*)" \
		"$before"
}
