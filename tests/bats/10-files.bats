#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# The checkpoint's own files: the same bytes under the same names, so that a program may open the
# mount as if it were the checkpoint.

load helper

setup() {
	require fuse
	wl_paths
}

teardown() {
	wl_cleanup
}

# assert_same_files CHECKPOINT: every own file has its bytes and size in the mount.
assert_same_files() {
	local file from=$1

	while IFS= read -r file; do
		cmp "$from/$file" "$MNT/$file"
		assert_equal "$(stat -c '%s %F' "$MNT/$file")" "$(stat -Lc '%s %F' "$from/$file")"
	done < <(cd "$from" && find -L . -type f -printf '%P\n')
}

@test "own files: shards, index and side files have the same bytes" {
	mount_tiny tiny-llama --max-shard-size 2MB
	assert_same_files "$CKPT"
	wl_umount "$MNT"
}

@test "own files: sha256sum -c passes on the mount" {
	mount_tiny tiny-llama --max-shard-size 2MB
	(cd "$CKPT" && sha256sum -- *) >"$BATS_TEST_TMPDIR/sums"
	(cd "$MNT" && sha256sum --quiet -c "$BATS_TEST_TMPDIR/sums")
	wl_umount "$MNT"
}

@test "own files: the root lists them beside our folders" {
	mount_tiny
	run -0 ls -A "$MNT"
	for name in "$CKPT"/* tensors modules npy .wload; do
		assert_line "${name##*/}"
	done
	wl_umount "$MNT"
}

@test "own files: subfolders, empty files and dot files are there" {
	make_tiny tiny-llama "$CKPT"
	mkdir -p "$CKPT/onnx/deep/er" "$CKPT/empty"
	echo '{}' >"$CKPT/onnx/config.json"
	head -c 300000 /dev/urandom >"$CKPT/onnx/deep/er/blob.bin"
	: >"$CKPT/.gitattributes"
	wl_mount "$CKPT" "$MNT"
	assert_same_files "$CKPT"
	assert_dir_exists "$MNT/empty"
	run -0 find "$MNT/onnx" -printf '%P\n'
	assert_line deep/er/blob.bin
	wl_umount "$MNT"
}

@test "own files: symlinks of a Hugging Face cache snapshot are regular files" {
	make_tiny tiny-llama "$BATS_TEST_TMPDIR/hub/blobs" --max-shard-size 2MB
	mkdir -p "$BATS_TEST_TMPDIR/hub/snapshots/abc"
	snapshot=$BATS_TEST_TMPDIR/hub/snapshots/abc
	for blob in "$BATS_TEST_TMPDIR"/hub/blobs/*; do
		ln -s "../../blobs/${blob##*/}" "$snapshot/${blob##*/}"
	done
	wl_mount "$snapshot" "$MNT"
	assert_same_files "$snapshot"
	assert_equal "$(find "$MNT" -type l | wc -l)" 0
	assert_equal "$(count_files "$MNT/tensors")" 30
	wl_umount "$MNT"
}

@test "own files: a dangling symlink harms nothing else" {
	make_tiny tiny-llama "$CKPT"
	ln -s nowhere "$CKPT/dangling"
	wl_mount "$CKPT" "$MNT"
	cmp "$CKPT/config.json" "$MNT/config.json"
	run ! cat "$MNT/dangling"
	ls -lA "$MNT" >/dev/null || true
	wl_umount "$MNT"
}

@test "own files: an entry that clashes with our folders is hidden, with a warning" {
	make_tiny tiny-llama "$CKPT"
	mkdir "$CKPT/tensors"
	echo mine >"$CKPT/tensors/mine"
	echo mine >"$CKPT/npy"
	wl_mount "$CKPT" "$MNT"
	assert_not_exists "$MNT/tensors/mine"
	assert_dir_exists "$MNT/npy"
	assert_equal "$(count_files "$MNT/tensors")" 30
	run -0 cat "${WL_LOGS[$MNT]}"
	assert_output --partial "tensors'"
	assert_output --partial "npy'"
	wl_umount "$MNT"
}

@test "own files: random and parallel reads of a shard" {
	mount_tiny
	mkdir "$BATS_TEST_TMPDIR/out"
	pids=()
	for i in 1 2 3 4; do
		cp "$MNT/model.safetensors" "$BATS_TEST_TMPDIR/out/$i" &
		pids+=($!)
	done
	wait "${pids[@]}"
	for i in 1 2 3 4; do
		cmp "$CKPT/model.safetensors" "$BATS_TEST_TMPDIR/out/$i"
	done
	"$CHECK_STAMPS" --quiet "$MNT/model.safetensors"
	wl_umount "$MNT"
}

@test "own files: a shard can be mapped" {
	require numpy
	mount_tiny
	run -0 "$PYTHON" - "$CKPT/model.safetensors" "$MNT/model.safetensors" <<-'PY'
		import mmap, sys
		a = open(sys.argv[1], "rb").read()
		with open(sys.argv[2], "rb") as f:
		    for access in (mmap.ACCESS_READ, mmap.ACCESS_COPY):
		        with mmap.mmap(f.fileno(), 0, access=access) as m:
		            print(m[:] == a)
	PY
	assert_output $'True\nTrue'
	wl_umount "$MNT"
}

@test "own files: nothing about them can be changed" {
	mount_tiny
	file=$MNT/config.json
	before=$(stat -c '%a %u %s %Y' "$file"; sha256sum "$file")
	assert_errno EPERM unlink "$file"
	for call in open-write open-rdwr open-append open-trunc truncate; do
		assert_errno EROFS "$call" "$file"
	done
	for call in chmod chown utimens setxattr; do
		assert_errno 'EROFS|EPERM' "$call" "$file"
	done
	assert_errno 'EROFS|EPERM' rename "$file" "$MNT/other"
	assert_errno 'EROFS|EPERM' link "$file" "$MNT/other"
	assert_equal "$(stat -c '%a %u %s %Y' "$file"; sha256sum "$file")" "$before"
	wl_umount "$MNT"
}

@test "own files: safe_open on the mount gives every tensor" {
	require pypi
	mount_tiny tiny-llama --max-shard-size 2MB
	run -0 "$PYTHON" - "$CKPT" "$MNT" <<-'PY'
		import glob, os, sys
		from safetensors import safe_open
		import safetensors
		count = 0
		for path in sorted(glob.glob(sys.argv[2] + "/*.safetensors")):
		    with open(path, "rb") as f:
		        got = dict(safetensors.deserialize(f.read()))
		    with open(os.path.join(sys.argv[1], os.path.basename(path)), "rb") as f:
		        assert dict(safetensors.deserialize(f.read())) == got
		    with safe_open(path, "np") as f:
		        count += len(list(f.keys()))
		print(count)
	PY
	assert_output 30
	wl_umount "$MNT"
}
