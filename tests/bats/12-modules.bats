#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# modules/: the same tensors as a tree, dots as folders.

load helper

setup() {
	require fuse
	wl_paths
	M=$MNT/modules
}

teardown() {
	wl_cleanup
}

@test "modules: every path is a tensor's name with slashes for dots" {
	mount_tiny
	assert_equal "$(cd "$M" && find . -type f -printf '%P\n' | tr / . | LC_ALL=C sort)" \
		"$(LC_ALL=C ls "$MNT/tensors")"
	wl_umount "$MNT"
}

@test "modules: the same inodes as in tensors/" {
	mount_tiny
	while IFS= read -r path; do
		assert_equal "$(stat -c '%i %s' "$M/$path")" \
			"$(stat -c '%i %s' "$MNT/tensors/${path//\//.}")"
	done < <(cd "$M" && find . -type f -printf '%P\n')
	assert_equal "$(find "$M" -samefile "$MNT/tensors/model.norm.weight")" \
		"$M/model/norm/weight"
	wl_umount "$MNT"
}

@test "modules: files have the tensors' bytes" {
	mount_tiny
	assert_tensor "$M/model/layers/1/mlp/up_proj/weight" model.layers.1.mlp.up_proj.weight
	run -0 "$CHECK_STAMPS" "$M"
	assert_output '30 tensors, 6455808 bytes checked, 0 different'
	wl_umount "$MNT"
}

@test "modules: ls shows modules as folders" {
	mount_tiny
	run -0 ls "$M/model/layers"
	assert_output $'0\n1\n2'
	run -0 ls "$M/model/layers/0"
	assert_output $'input_layernorm\nmlp\npost_attention_layernorm\nself_attn'
	assert_equal "$(stat -c '%a %F' "$M/model")" '755 directory'
	assert_errno ENOENT stat "$M/model/layers/3"
	assert_errno ENOENT stat "$M/mod"
	wl_umount "$MNT"
}

@test "modules: a folder's links count its subfolders, so find needs no hint" {
	mount_tiny
	assert_equal "$(find "$M" -type d | wc -l)" "$(find "$M" -noleaf -type d | wc -l)"
	wl_umount "$MNT"
}

@test "modules: .. and relative paths work" {
	mount_tiny
	cd "$M/model/layers/0/mlp"
	assert_exists ../../1/mlp/up_proj/weight
	cd "$WL_ROOT"
	wl_umount "$MNT"
}

@test "modules: numbers that only look alike stay apart" {
	make_tensors "$CKPT" <<-'LINES'
		l.1.w U8 3
		l.10.w U8 3
		l.1x.w U8 3
		l1.w U8 3
	LINES
	wl_mount "$CKPT" "$MNT"
	rm -r "$M/l/1"
	run -0 ls "$MNT/tensors"
	assert_output $'l.10.w\nl.1x.w\nl1.w'
	wl_umount "$MNT"
}

@test "rm -r modules/…: consumes the module, and only it" {
	mount_tiny
	rm -r "$M/model/layers/0"
	assert_not_exists "$M/model/layers/0"
	assert_equal "$(count_files "$MNT/tensors")" 21
	run -0 ls "$MNT/tensors"
	refute_output --partial model.layers.0.
	assert_equal "$(stats_field consumed_tensors)" 9
	wl_umount "$MNT"
}

@test "rmdir: an emptied module stays until rmdir, a full one is ENOTEMPTY" {
	mount_tiny
	assert_errno ENOTEMPTY rmdir "$M/model/norm"
	rm "$MNT/tensors/model.norm.weight"
	assert_dir_exists "$M/model/norm"
	assert_equal "$(find "$M/model/norm" | wc -l)" 1
	assert_errno 0 rmdir "$M/model/norm"
	assert_not_exists "$M/model/norm"
	assert_errno ENOTEMPTY rmdir "$M/model"
	wl_umount "$MNT"
}

@test "restore: a removed module folder is back" {
	mount_tiny
	rm -r "$M/model/layers/0"
	run -0 control 'restore model.layers.0\n'
	assert_output 9
	assert_tensor "$M/model/layers/0/mlp/up_proj/weight" model.layers.0.mlp.up_proj.weight
	wl_umount "$MNT"
}
