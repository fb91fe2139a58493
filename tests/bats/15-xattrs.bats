#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# What a tensor says of itself: getfattr.

load helper

setup() {
	require fuse
	wl_paths
	FILE=$MNT/tensors/model.layers.1.self_attn.k_proj.weight
}

teardown() {
	wl_cleanup
}

attribute() { getfattr --absolute-names --only-values -n "user.wload.$1" "${2:-$FILE}"; }

@test "getfattr -d: lists every attribute" {
	mount_tiny
	run -0 getfattr --absolute-names -d "$FILE"
	for name in name dtype shape shard offset bytes state claims; do
		assert_line --regexp "^user\.wload\.$name="
	done
	wl_umount "$MNT"
}

@test "getfattr: name, dtype, shape and bytes are the header's" {
	mount_tiny
	assert_equal "$(attribute name)" model.layers.1.self_attn.k_proj.weight
	assert_equal "$(attribute dtype)" BF16
	assert_equal "$(attribute shape | grep -oE '[0-9]+' | xargs)" '128 256'
	assert_equal "$(attribute bytes)" 65536
	assert_equal "$(attribute state)" live
	wl_umount "$MNT"
}

@test "getfattr: offset is the tensor's place in its shard" {
	mount_tiny
	offset=$(attribute offset)
	cmp <(tail -c +$((offset + 1)) "$CKPT/model.safetensors" | head -c 65536) "$FILE"
	wl_umount "$MNT"
}

@test "getfattr: the same by every name of the tensor" {
	mount_tiny
	other=$MNT/modules/model/layers/1/self_attn/k_proj/weight
	assert_equal "$(getfattr --absolute-names -d "$other" | tail -n +2)" \
		"$(getfattr --absolute-names -d "$FILE" | tail -n +2)"
	assert_equal "$(attribute name "$MNT/npy/${FILE##*/}.npy")" "${FILE##*/}"
	wl_umount "$MNT"
}

@test "getfattr: the true data type of what NumPy lacks" {
	make_tensors "$CKPT" <<<$'a F8_E4M3 4\nb BF16 4\nc F4 4'
	wl_mount "$CKPT" "$MNT"
	assert_equal "$(attribute dtype "$MNT/npy/a.npy")" F8_E4M3
	assert_equal "$(attribute dtype "$MNT/npy/b.npy")" BF16
	assert_equal "$(attribute dtype "$MNT/tensors/c")" F4
	wl_umount "$MNT"
}

@test "getfattr: a scalar's shape has no dimension" {
	make_tensors "$CKPT" <<<'s F32'
	wl_mount "$CKPT" "$MNT"
	run ! grep -q '[0-9]' <(attribute shape "$MNT/tensors/s")
	assert_equal "$(attribute bytes "$MNT/tensors/s")" 4
	wl_umount "$MNT"
}

@test "getfattr: others are ENODATA, and none can be set or removed" {
	mount_tiny
	assert_errno ENODATA getxattr "$FILE" user.wload.nothing
	assert_errno 'EROFS|EPERM' setxattr "$FILE"
	assert_errno 'EROFS|EPERM' removexattr "$FILE"
	assert_equal "$(attribute name)" "${FILE##*/}"
	wl_umount "$MNT"
}

# What ls -l asks of every file, it stops asking once it hears that the filesystem has none.
@test "getfattr: labels, capabilities and ACLs are not supported, on any file" {
	mount_tiny
	for file in "$FILE" "$MNT/tensors" "$MNT/config.json" "$MNT"; do
		for name in security.selinux security.capability trusted.x \
			system.posix_acl_access; do
			assert_errno EOPNOTSUPP getxattr "$file" "$name"
		done
		assert_errno ENODATA getxattr "$file" user.other
	done
	wl_umount "$MNT"
}
