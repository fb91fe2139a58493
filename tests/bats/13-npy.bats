#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# npy/: the same bytes behind a NumPy header.

load helper

setup() {
	require fuse numpy
	wl_paths
}

teardown() {
	wl_cleanup
}

every_dtype() {
	make_tensors "$CKPT" <<-'LINES'
		bool BOOL 3,5
		f4 F4 2,4
		f6a F6_E2M3 4
		f6b F6_E3M2 4
		u8 U8 3,5
		i8 I8 3,5
		f8a F8_E5M2 3,5
		f8b F8_E4M3 3,5
		f8c F8_E8M0 3,5
		f8d F8_E4M3FNUZ 3,5
		f8e F8_E5M2FNUZ 3,5
		i16 I16 3,5
		u16 U16 3,5
		f16 F16 3,5
		bf16 BF16 3,5
		i32 I32 3,5
		u32 U32 3,5
		f32 F32 3,5
		c64 C64 3,5
		f64 F64 3,5
		i64 I64 3,5
		u64 U64 3,5
		scalar F32
		empty BF16 0,4
		vector I64 1
		deep U8 1,2,1,3,1,2,1
	LINES
}

@test "npy: np.load gives every data type, and BF16 and 8-bit floats as unsigned integers" {
	every_dtype
	wl_mount "$CKPT" "$MNT"
	run -0 "$PYTHON" - "$MNT" <<-'PY'
		import sys
		import numpy as np
		mnt = sys.argv[1]
		types = {"bool": "|b1", "u8": "|u1", "i8": "|i1", "f8a": "|u1", "f8b": "|u1", "f8c": "|u1",
		         "f8d": "|u1", "f8e": "|u1", "i16": "<i2", "u16": "<u2", "f16": "<f2",
		         "bf16": "<u2", "i32": "<i4", "u32": "<u4", "f32": "<f4", "c64": "<c8",
		         "f64": "<f8", "i64": "<i8", "u64": "<u8", "scalar": "<f4", "empty": "<u2",
		         "vector": "<i8", "deep": "|u1"}
		shapes = {"scalar": (), "empty": (0, 4), "vector": (1,), "deep": (1, 2, 1, 3, 1, 2, 1)}
		for name, kind in types.items():
		    raw = open(f"{mnt}/tensors/{name}", "rb").read()
		    a = np.load(f"{mnt}/npy/{name}.npy")
		    assert a.dtype.str == kind, (name, a.dtype.str)
		    assert a.shape == shapes.get(name, (3, 5)), (name, a.shape)
		    assert a.tobytes() == raw, name
		    assert a.flags.c_contiguous, name
		    if a.size and a.ndim:
		        m = np.load(f"{mnt}/npy/{name}.npy", mmap_mode="r")
		        assert m.dtype == a.dtype and m.shape == a.shape and m.tobytes() == raw, name
		print(len(types))
	PY
	assert_output 23
	wl_umount "$MNT"
}

@test "npy: F4 and F6 have none" {
	every_dtype
	wl_mount "$CKPT" "$MNT"
	for name in f4 f6a f6b; do
		assert_exists "$MNT/tensors/$name"
		assert_errno ENOENT stat "$MNT/npy/$name.npy"
	done
	assert_equal "$(count_files "$MNT/npy")" 23
	wl_umount "$MNT"
}

@test "npy: the header is NumPy's own, aligned to 64 bytes" {
	mount_tiny
	run -0 "$PYTHON" - "$MNT" "$BATS_TEST_TMPDIR/ours.npy" <<-'PY'
		import glob, os, sys
		import numpy as np
		for path in sorted(glob.glob(sys.argv[1] + "/npy/*")):
		    np.save(sys.argv[2], np.load(path))
		    a, b = open(path, "rb").read(), open(sys.argv[2], "rb").read()
		    data = len(a) - os.stat(sys.argv[1] + "/tensors/" + os.path.basename(path)[:-4]).st_size
		    assert data % 64 == 0, (path, data)
		    assert a[data:] == b[-len(a) + data:] and a[:8] == b[:8], path
		print("ok")
	PY
	assert_output ok
	wl_umount "$MNT"
}

@test "npy: sizes, modes and the listing agree" {
	mount_tiny
	assert_equal "$(cd "$MNT/npy" && printf "%s\n" *)" "$(cd "$MNT/tensors" && printf "%s.npy\n" *)"
	for file in "$MNT"/npy/*; do
		assert_equal "$(wc -c <"$file")" "$(stat -c %s "$file")"
		assert_equal "$(stat -c %a "$file")" 644
	done
	wl_umount "$MNT"
}

@test "npy: mapped arrays of a large tensor are read where they are touched" {
	mount_tiny
	run -0 "$PYTHON" - "$MNT" <<-'PY'
		import sys
		import numpy as np
		a = np.load(sys.argv[1] + "/npy/model.embed_tokens.weight.npy", mmap_mode="r")
		raw = np.fromfile(sys.argv[1] + "/tensors/model.embed_tokens.weight", "<u2")
		print(a.shape, (a[::7] == raw.reshape(a.shape)[::7]).all())
	PY
	assert_output '(2053, 256) True'
	wl_umount "$MNT"
}

@test "npy: removing one consumes the tensor under all its names" {
	mount_tiny
	rm "$MNT/npy/model.norm.weight.npy"
	assert_errno ENOENT stat "$MNT/tensors/model.norm.weight"
	assert_errno ENOENT stat "$MNT/modules/model/norm/weight"
	assert_errno ENOENT stat "$MNT/npy/model.norm.weight.npy"
	wl_umount "$MNT"
}
