#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# unlink is mark_consumed; nothing else can be written.

load helper

setup() {
	require fuse
	wl_paths
	T=$MNT/tensors
	NAME=model.layers.0.mlp.up_proj.weight # 352,256 bytes
	EMBED=model.embed_tokens.weight
}

teardown() {
	wl_cleanup
}

assert_gone() {
	assert_errno ENOENT stat "$T/$1"
	assert_errno ENOENT open-read "$T/$1"
	assert_errno ENOENT unlink "$T/$1"
	assert_errno ENOENT stat "$MNT/modules/${1//./\/}"
	assert_errno ENOENT open-read "$MNT/modules/${1//./\/}"
	assert_errno ENOENT stat "$MNT/npy/$1.npy"
	assert_errno ENOENT open-read "$MNT/npy/$1.npy"
	run -0 find "$T" "$MNT/modules" "$MNT/npy" -type f
	refute_line "$T/$1"
	refute_line "$MNT/modules/${1//./\/}"
	refute_line "$MNT/npy/$1.npy"
}

@test "unlink: by its name in tensors/ all its names are gone" {
	mount_tiny
	rm "$T/$NAME"
	assert_gone "$NAME"
	wl_umount "$MNT"
}

@test "unlink: by its name in modules/ all its names are gone" {
	mount_tiny
	rm "$MNT/modules/${NAME//./\/}"
	assert_gone "$NAME"
	wl_umount "$MNT"
}

@test "unlink: by its name in npy/ all its names are gone" {
	mount_tiny
	rm "$MNT/npy/$NAME.npy"
	assert_gone "$NAME"
	wl_umount "$MNT"
}

@test "unlink: all names are gone though each was looked up and read before" {
	mount_tiny
	stat "$T/$NAME" "$MNT/modules/${NAME//./\/}" "$MNT/npy/$NAME.npy" >/dev/null
	cat "$T/$NAME" "$MNT/modules/${NAME//./\/}" "$MNT/npy/$NAME.npy" >/dev/null
	rm "$T/$NAME"
	assert_gone "$NAME"
	wl_umount "$MNT"
}

@test "unlink: other tensors keep every byte" {
	mount_tiny
	rm "$T/$NAME" "$T/model.norm.weight"
	run -0 "$CHECK_STAMPS" "$T"
	assert_output "28 tensors, $((6455808 - 352256 - 512)) bytes checked, 0 different"
	cmp "$CKPT/model.safetensors" "$MNT/model.safetensors"
	wl_umount "$MNT"
}

@test "unlink: a file that was never opened, and one that is open" {
	mount_tiny
	rm "$T/lm_head.weight"
	exec {held}<"$T/$NAME"
	rm "$T/$NAME"
	exec {held}<&-
	assert_gone lm_head.weight
	assert_gone "$NAME"
	wl_umount "$MNT"
}

@test "unlink: an open descriptor still reads after consumption" {
	mount_tiny
	exec {held}<"$T/$EMBED"
	rm "$T/$EMBED"
	run -0 "$PROBE" stamps - "$EMBED" <&"$held"
	assert_output 1051136
	exec {held}<&-
	assert_gone "$EMBED"
	wl_umount "$MNT"
}

@test "unlink: an open descriptor reads by every name it was opened by" {
	mount_tiny
	exec {a}<"$MNT/modules/${NAME//./\/}" {b}<"$MNT/npy/$NAME.npy"
	rm "$T/$NAME"
	run -0 "$PROBE" stamps - "$NAME" <&"$a"
	assert_output 352256
	tail -c 352256 <&"$b" >"$BATS_TEST_TMPDIR/tail"
	assert_tensor "$BATS_TEST_TMPDIR/tail" "$NAME"
	exec {a}<&- {b}<&-
	wl_umount "$MNT"
}

@test "unlink: a mapping still reads after consumption" {
	require numpy
	mount_tiny
	run -0 "$PYTHON" - "$T/$EMBED" <<-'PY'
		import mmap, os, sys
		want = open(sys.argv[1], "rb").read()
		with open(sys.argv[1], "rb") as f:
		    m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
		touched = m[:4096]
		os.unlink(sys.argv[1])
		print(m[:] == want, touched == want[:4096], os.path.exists(sys.argv[1]))
	PY
	assert_output 'True True False'
	wl_umount "$MNT"
}

@test "unlink: fstat of an open descriptor still works" {
	require numpy
	mount_tiny
	run -0 "$PYTHON" - "$T/$EMBED" <<-'PY'
		import os, sys
		fd = os.open(sys.argv[1], os.O_RDONLY)
		os.unlink(sys.argv[1])
		print(os.fstat(fd).st_size)
	PY
	assert_output 1051136
	wl_umount "$MNT"
}

@test "unlink: stats.json counts tensors and bytes" {
	mount_tiny
	rm "$T/$NAME"
	assert_equal "$(stats_field consumed_tensors) $(stats_field consumed_bytes)" '1 352256'
	rm "$MNT/modules/model/norm/weight"
	assert_equal "$(stats_field consumed_tensors) $(stats_field consumed_bytes)" '2 352768'
	wl_umount "$MNT"
}

@test "unlink: index.jsonl tells the state, and its order stays" {
	mount_tiny
	before=$(tail -n +2 "$MNT/.wload/index.jsonl" | jq -r .name)
	assert_equal "$(index_field "$NAME" state)" live
	rm "$T/$NAME"
	assert_equal "$(index_field "$NAME" state)" consumed
	assert_equal "$(tail -n +2 "$MNT/.wload/index.jsonl" | jq -r .name)" "$before"
	wl_umount "$MNT"
}

@test "df: size is all bytes, used what remains, available what is consumed" {
	mount_tiny
	read -r unit total free avail < <(stat -f -c '%S %b %f %a' "$MNT")
	[ $((total * unit - 6455808)) -ge 0 ] && [ $((total * unit - 6455808)) -lt "$unit" ] ||
		fail "$total blocks of $unit for 6455808 bytes"
	assert_equal "$free $avail" '0 0'
	rm "$T/$EMBED" "$T/$NAME"
	consumed=$((1051136 + 352256))
	read -r total2 free avail < <(stat -f -c '%b %f %a' "$MNT")
	assert_equal "$total2 $avail" "$total $free"
	rest=$((avail * unit - consumed))
	[ "${rest#-}" -lt "$unit" ] || fail "$avail blocks of $unit for $consumed bytes"
	wl_umount "$MNT"
}

@test "df -i: inodes likewise" {
	mount_tiny
	assert_equal "$(stat -f -c '%c %d' "$MNT")" '30 0'
	rm "$T/$EMBED" "$T/$NAME"
	assert_equal "$(stat -f -c '%c %d' "$MNT")" '30 2'
	run -0 df "$MNT"
	assert_output --partial "$MNT"
	wl_umount "$MNT"
}

@test "rm -rf tensors/*: everything is consumed, folders stay" {
	mount_tiny
	rm -rf "${T:?}"/*
	assert_equal "$(count_files "$T") $(count_files "$MNT/npy") $(count_files "$MNT/modules")" \
		'0 0 0'
	assert_dir_exists "$T"
	assert_equal "$(stats_field consumed_tensors) $(stats_field consumed_bytes)" '30 6455808'
	run -0 df --output=pcent "$MNT"
	assert_line --regexp '^ *0%$'
	wl_umount "$MNT"
}

@test "readdir: a listing begun before removals loses no other name" {
	require numpy
	make_tensors "$CKPT" < <(for i in {1..2000}; do echo "t.$i U8 8"; done)
	wl_mount "$CKPT" "$MNT"
	run -0 "$PYTHON" - "$T" <<-'PY'
		import os, sys
		seen = []
		with os.scandir(sys.argv[1]) as entries:
		    for i, e in enumerate(entries):
		        seen.append(e.name)
		        if i % 2:
		            os.unlink(e.path)
		print(len(seen), len(set(seen)), len(os.listdir(sys.argv[1])))
	PY
	assert_output '2000 2000 1000'
	wl_umount "$MNT"
}

@test "find -delete: empties tensors/ in one pass" {
	make_tensors "$CKPT" < <(for i in {1..2000}; do echo "t.$i U8 8"; done)
	wl_mount "$CKPT" "$MNT"
	timeout "$WL_DEADLINE" find "$T" -type f -delete
	assert_equal "$(count_files "$T")" 0
	assert_equal "$(stats_field consumed_tensors)" 2000
	wl_umount "$MNT"
}

@test "unlink: removing the same tensor from many processes succeeds once" {
	mount_tiny
	pids=()
	for i in 1 2 3 4 5 6 7 8; do
		"$PROBE" errno unlink "$T/$NAME" >"$BATS_TEST_TMPDIR/out.$i" &
		pids+=($!)
	done
	wait "${pids[@]}"
	run -0 sort "$BATS_TEST_TMPDIR"/out.*
	assert_output "0"$'\n'"$(printf 'ENOENT\n%.0s' {1..7})"
	assert_equal "$(stats_field consumed_tensors)" 1
	wl_umount "$MNT"
}

@test "remount: starts afresh, the checkpoint is whole" {
	mount_tiny
	rm -rf "${T:?}"/*
	wl_umount "$MNT"
	wl_mount "$CKPT" "$MNT"
	run -0 "$CHECK_STAMPS" "$T"
	assert_output '30 tensors, 6455808 bytes checked, 0 different'
	wl_umount "$MNT"
}

@test "write: opening a tensor for writing is EROFS" {
	mount_tiny
	for file in "$T/$NAME" "$MNT/modules/${NAME//./\/}" "$MNT/npy/$NAME.npy"; do
		for call in open-write open-rdwr open-append open-trunc truncate; do
			assert_errno EROFS "$call" "$file"
		done
		for call in chmod chown utimens; do
			assert_errno 'EROFS|EPERM' "$call" "$file"
		done
	done
	assert_tensor "$T/$NAME" "$NAME"
	wl_umount "$MNT"
}

@test "write: nothing can be made, anywhere" {
	mount_tiny
	for dir in "$MNT" "$T" "$MNT/modules" "$MNT/modules/model" "$MNT/npy" "$MNT/.wload"; do
		for call in create mkdir mknod; do
			assert_errno 'EROFS|EPERM' "$call" "$dir/new"
		done
		assert_errno 'EROFS|EPERM' link "$T/$NAME" "$dir/new"
		assert_errno 'EROFS|EPERM' symlink anything "$dir/new"
		assert_errno 'EROFS|EPERM' rename "$T/$NAME" "$dir/new"
	done
	assert_tensor "$T/$NAME" "$NAME"
	assert_equal "$(count_files "$T")" 30
	wl_umount "$MNT"
}

@test "write: our folders and control files can't be removed" {
	mount_tiny
	for dir in "$T" "$MNT/modules" "$MNT/npy" "$MNT/.wload"; do
		run -0 "$PROBE" errno rmdir "$dir"
		refute_output 0
		assert_dir_exists "$dir"
	done
	for file in stats.json index.jsonl consume; do
		assert_errno 'EROFS|EPERM' unlink "$MNT/.wload/$file"
	done
	for file in stats.json index.jsonl; do
		assert_errno 'EROFS|EPERM|EACCES' open-write "$MNT/.wload/$file"
	done
	wl_umount "$MNT"
}

@test "rm -rf of the whole mount: consumes the tensors, keeps the checkpoint" {
	mount_tiny
	before=$(sha256sum "$CKPT"/*)
	run ! timeout "$WL_DEADLINE" rm -rf "${MNT:?}"/*
	assert_equal "$(sha256sum "$CKPT"/*)" "$before"
	assert_exists "$MNT/config.json"
	assert_equal "$(count_files "$T")" 0
	wl_umount "$MNT"
}
