#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# .wload/consume: whole lines in, counts out on the same descriptor; all of a write or none of it.

load helper

setup() {
	require fuse
	wl_paths
	T=$MNT/tensors
	C=$MNT/.wload/consume
}

teardown() {
	wl_cleanup
}

# control_fails TEXT: EINVAL, and no tensor's state changed.
control_fails() {
	local before
	before=$(stats_field consumed_tensors)
	run -1 control "$1"
	assert_output 'write: EINVAL'
	assert_equal "$(stats_field consumed_tensors)" "$before"
}

@test "consume: prefix takes every tensor under the module, and says how many" {
	mount_tiny
	run -0 control 'prefix model.layers.0\n'
	assert_output 9
	assert_equal "$(count_files "$T")" 21
	assert_not_exists "$T/model.layers.0.mlp.up_proj.weight"
	assert_exists "$T/model.layers.1.mlp.up_proj.weight"
	wl_umount "$MNT"
}

@test "consume: prefix is a module, not the beginning of a name" {
	make_tensors "$CKPT" <<<$'l.1.w U8 3\nl.10.w U8 3\nl.1 U8 3\nl.1x U8 3'
	wl_mount "$CKPT" "$MNT"
	run -0 control 'prefix l.1\n'
	assert_output 1
	run -0 ls "$T"
	assert_output $'l.1\nl.10.w\nl.1x'
	wl_umount "$MNT"
}

@test "consume: again is 0, a prefix of nothing is 0" {
	mount_tiny
	run -0 control 'prefix model.layers.0\n'
	run -0 control 'prefix model.layers.0\n'
	assert_output 0
	run -0 control 'prefix model.layers.99\n'
	assert_output 0
	wl_umount "$MNT"
}

@test "consume: key takes one tensor; again counts 0" {
	mount_tiny
	run -0 control 'key model.norm.weight\n'
	assert_output 1
	assert_errno ENOENT stat "$T/model.norm.weight"
	run -0 control 'key model.norm.weight\n'
	assert_output 0
	wl_umount "$MNT"
}

@test "consume: all takes the rest" {
	mount_tiny
	rm "$T/lm_head.weight"
	run -0 control 'all\n'
	assert_output 29
	assert_equal "$(count_files "$T")" 0
	assert_equal "$(stats_field consumed_bytes)" 6455808
	wl_umount "$MNT"
}

@test "consume: a line for each command, in order" {
	mount_tiny
	run -0 control 'key lm_head.weight\nprefix model.layers.2\nprefix model.layers\nall\nrestore\n'
	assert_output $'1\n9\n18\n2\n30'
	wl_umount "$MNT"
}

@test "restore: everything, or what is under a module" {
	mount_tiny
	control 'all\n'
	run -0 control 'restore model.layers.1\n'
	assert_output 9
	assert_equal "$(count_files "$T")" 9
	assert_tensor "$T/model.layers.1.mlp.up_proj.weight" model.layers.1.mlp.up_proj.weight
	run -0 control 'restore\n'
	assert_output 21
	run -0 "$CHECK_STAMPS" "$T"
	assert_output '30 tensors, 6455808 bytes checked, 0 different'
	assert_equal "$(stats_field consumed_tensors) $(stats_field consumed_bytes)" '0 0'
	run -0 control 'restore\n'
	assert_output 0
	wl_umount "$MNT"
}

@test "restore: names that were looked up while gone are back, by every path" {
	mount_tiny
	name=model.layers.0.self_attn.q_proj.weight
	cat "$T/$name" >/dev/null
	for _ in 1 2 3; do
		rm "$T/$name"
		assert_errno ENOENT stat "$T/$name"
		assert_errno ENOENT stat "$MNT/modules/${name//./\/}"
		control 'restore\n'
		assert_tensor "$T/$name" "$name"
		assert_tensor "$MNT/modules/${name//./\/}" "$name"
		assert_exists "$MNT/npy/$name.npy"
	done
	wl_umount "$MNT"
}

@test "restore: a descriptor held from before reads on" {
	mount_tiny
	exec {held}<"$T/lm_head.weight"
	rm "$T/lm_head.weight"
	control 'restore\n'
	run -0 "$PROBE" stamps - lm_head.weight <&"$held"
	assert_output 1051136
	assert_tensor "$T/lm_head.weight" lm_head.weight
	exec {held}<&-
	wl_umount "$MNT"
}

@test "consume: the shell's echo and truncation are accepted" {
	mount_tiny
	echo 'prefix model.layers.0' >"$C"
	assert_equal "$(count_files "$T")" 21
	echo 'key model.norm.weight' >>"$C"
	assert_equal "$(count_files "$T")" 20
	assert_equal "$(stat -c %a "$C")" 600
	wl_umount "$MNT"
}

@test "consume: one bad line and nothing of the write is done" {
	mount_tiny
	control_fails 'key model.norm.weight\nnonsense\n'
	control_fails 'nonsense\nkey model.norm.weight\n'
	control_fails 'key model.norm.weight\nkey no.such.tensor\n'
	control_fails 'all\nprefix \n'
	assert_equal "$(count_files "$T")" 30
	wl_umount "$MNT"
}

@test "consume: EINVAL for an empty prefix, key or line, and for words too many" {
	mount_tiny
	control_fails 'prefix \n'
	control_fails 'prefix\n'
	control_fails 'key \n'
	control_fails 'key\n'
	control_fails '\n'
	control_fails 'all model\n'
	control_fails 'ALL\n'
	control_fails 'key no.such.tensor\n'
	wl_umount "$MNT"
}

@test "consume: EINVAL for a line that does not end" {
	mount_tiny
	control_fails 'prefix model.layers.0'
	control_fails 'key model.norm.weight\nkey lm_head'
	wl_umount "$MNT"
}

@test "consume: names are spelled as in tensors/, escapes included" {
	make_tensors "$CKPT" <<-'LINES'
		"a/b.c\nd" U8 3
		"100%.x" U8 3
		"100%.y" U8 3
	LINES
	wl_mount "$CKPT" "$MNT"
	run -0 control 'key a%2Fb.c%0Ad\nprefix 100%25\n'
	assert_output $'1\n2'
	assert_equal "$(count_files "$T")" 0
	wl_umount "$MNT"
}

@test "consume: a name with a blank is one name" {
	make_tensors "$CKPT" <<<$'"a b.c" U8 3\n"a" U8 3'
	wl_mount "$CKPT" "$MNT"
	run -0 control 'key a b.c\n'
	assert_output 1
	run -0 ls "$T"
	assert_output a
	wl_umount "$MNT"
}

@test "consume: an answer belongs to its descriptor" {
	mount_tiny
	exec {a}<>"$C" {b}<>"$C"
	printf 'key lm_head.weight\n' >&"$a"
	printf 'prefix model.layers\n' >&"$b"
	assert_equal "$(cat <&"$a")" 1
	assert_equal "$(cat <&"$b")" 27
	exec {a}<&- {b}<&-
	wl_umount "$MNT"
}

@test "consume: commands side by side count every tensor once" {
	make_tensors "$CKPT" < <(for i in {1..1000}; do echo "m.$((i % 10)).$i U8 8"; done)
	wl_mount "$CKPT" "$MNT"
	pids=()
	for i in 1 2 3 4; do
		control 'prefix m.0\nprefix m.1\nprefix m\nall\n' >"$BATS_TEST_TMPDIR/out.$i" &
		pids+=($!)
	done
	wait "${pids[@]}"
	assert_equal "$(cat "$BATS_TEST_TMPDIR"/out.* | awk '{ s += $1 } END { print s }')" 1000
	assert_equal "$(stats_field consumed_tensors)" 1000
	wl_umount "$MNT"
}
