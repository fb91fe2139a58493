#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# What 22-evict's ordinary readers don't show: pages that are mapped, held or dirty, names that the
# kernel already knows, and that the reply comes last.

load helper

setup() {
	require fuse disk
	wl_paths
	T=$MNT/tensors
	SHARD=$CKPT/model.safetensors
	NAME=model.layers.0.mlp.up_proj.weight
	MODULE=$MNT/modules/model/layers/0/mlp/up_proj/weight
	# mincore(2) of a mapping that this process has had all along: no time passes before it looks.
	cat >"$BATS_TEST_TMPDIR/resident.py" <<-'PY'
		import ctypes, mmap, os
		libc = ctypes.CDLL(None, use_errno=True)

		class Mapped:
		    def __init__(self, path, offset=0, length=None):
		        with open(path, "rb") as f:
		            self.skip = offset % 4096
		            self.len = (length or os.fstat(f.fileno()).st_size) + self.skip
		            self.map = mmap.mmap(f.fileno(), self.len, mmap.MAP_SHARED, mmap.PROT_READ,
		                                 offset=offset - self.skip)
		        with open("/proc/self/maps", encoding="utf-8") as maps:
		            for line in maps:
		                begin, at = line.split("-")[0], line.split()[2]
		                if line.rstrip().endswith(path) and int(at, 16) == offset - self.skip:
		                    self.at = int(begin, 16)
		        self.pages = (ctypes.c_ubyte * ((self.len + 4095) // 4096))()

		    def touch(self):
		        return sum(self.map[::4096]) >= 0

		    def resident(self):
		        if libc.mincore(ctypes.c_void_p(self.at), ctypes.c_size_t(self.len), self.pages):
		            raise OSError(ctypes.get_errno(), "mincore")
		        return sum(p & 1 for p in self.pages)
	PY
}

teardown() {
	wl_cleanup
}

python() { PYTHONPATH=$BATS_TEST_TMPDIR PYTHONDONTWRITEBYTECODE=1 python3 "$@"; }

mount_clean() {
	sync "$CKPT"/*
	wl_mount "$CKPT" "$MNT"
}

# How many pages wholly inside a tensor the shard has cached.
resident_pages() {
	local begin end
	begin=$(index_field "$1" offset)
	end=$(((begin + $(index_field "$1" bytes)) / 4096 * 4096))
	begin=$(((begin + 4095) / 4096 * 4096))
	"$PROBE" resident "$SHARD" "$begin" $((end - begin))
}

@test "caches: a client's mapping of a tensor's file keeps none of its pages" {
	make_tiny tiny-llama "$CKPT"
	mount_clean
	for file in "$T/$NAME" "$MNT/npy/lm_head.weight.npy"; do
		run -0 python - "$file" "$T/$(basename "$file" .npy)" <<-'PY'
			import os, sys
			from resident import Mapped
			m = Mapped(sys.argv[1])
			m.touch()
			before = m.resident()
			os.unlink(sys.argv[2])
			print(before == len(m.pages), m.resident())
		PY
		assert_output 'True 0'
	done
	wl_umount "$MNT"
}

# Each tensor is written, as it was, right before it goes: no machine has reclaimed its pages by then
# (DAMON and memory cgroups take what is idle), and that they must reach the disk first gives whoever
# replies too early the time to be seen.
@test "caches: the reply comes when the pages are gone, not before" {
	make_tensors "$CKPT" < <(for i in {1..12}; do echo "t.$i U8 8388608"; done)
	mount_clean
	for opened in True False; do
		run -0 python - "$SHARD" "$MNT/.wload/index.jsonl" "$T" "$opened" <<-'PY'
			import json, os, sys
			from resident import Mapped
			shard, index, folder, opened = sys.argv[1:]
			rows = [json.loads(line) for line in open(index)][1:]
			rows = rows[:6] if opened == "True" else rows[6:]
			held = [open(os.path.join(folder, row["file"]), "rb") for row in rows if opened == "True"]
			file = os.open(shard, os.O_RDWR)
			for row in rows:
			    begin = (row["offset"] + 4095) // 4096 * 4096
			    end = (row["offset"] + row["bytes"]) // 4096 * 4096
			    m = Mapped(shard, begin, end - begin)
			    os.pwrite(file, os.pread(file, end - begin, begin), begin)
			    before = m.resident()
			    os.unlink(os.path.join(folder, row["file"]))
			    print(before == len(m.pages), m.resident())
		PY
		assert_output "$(printf 'True 0\n%.0s' {1..6})"
	done
	wl_umount "$MNT"
}

# The reader stops half way, so what comes next is being read when the tensor goes.
@test "caches: nothing is read ahead of a reader once his tensor is consumed" {
	make_tensors "$CKPT" < <(for i in 1 2 3; do echo "t.$i U8 16000001"; done)
	mount_clean
	run -0 python - "$SHARD" "$MNT/.wload" "$T/t.2" <<-'PY'
		import json, mmap, os, sys, time
		from resident import Mapped
		shard, control, path = sys.argv[1:]
		buffer = mmap.mmap(-1, 1 << 20) # on a page's border, so that a read is one request
		rows = [json.loads(line) for line in open(f"{control}/index.jsonl")][1:]
		row = next(row for row in rows if row["name"] == "t.2")
		begin = (row["offset"] + 4095) // 4096 * 4096
		end = (row["offset"] + row["bytes"]) // 4096 * 4096
		consume = os.open(f"{control}/consume", os.O_RDWR)
		file = os.open(shard, os.O_RDONLY)
		m = Mapped(shard, begin, end - begin)
		left = []
		for i in range(40):
		    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
		    reader = os.open(path, os.O_RDONLY)
		    for _ in range(2 + i % 3):
		        os.readv(reader, [buffer])
		    if i % 2:
		        os.unlink(path)
		    else:
		        os.write(consume, b"prefix t\n")
		    until = time.monotonic() + 0.01
		    while time.monotonic() < until:
		        left.append(m.resident())
		    os.close(reader)
		    os.write(consume, b"restore\n")
		print(max(left))
	PY
	assert_output 0
	wl_umount "$MNT"
}

@test "caches: a descriptor that outlives its tensor leaves nothing cached, also before it is closed" {
	make_tensors "$CKPT" < <(for i in 1 2 3; do echo "t.$i U8 8000001"; done)
	mount_clean
	for file in "$T/t.2" "$MNT/npy/t.3.npy"; do
		name=$(basename "$file" .npy)
		exec {held}<"$file"
		dd bs=1M count=2 status=none <&"$held" >/dev/null
		rm "$T/$name"
		assert_equal "$(resident_pages "$name")" 0
		dd bs=1M status=none <&"$held" >"$BATS_TEST_TMPDIR/rest"
		assert_equal "$(resident_pages "$name")" 0
		assert [ "$(stat -c %s "$BATS_TEST_TMPDIR/rest")" -gt 5000000 ]
		exec {held}<&-
	done
	wl_umount "$MNT"
}

@test "caches: names that the kernel knew are gone with the tensor" {
	make_tiny tiny-llama "$CKPT"
	mount_clean
	for opened in no yes; do
		stat "$T/$NAME" "$MODULE" "$MNT/npy/$NAME.npy" >/dev/null
		[ "$opened" = no ] || exec {held}<"$MODULE"
		rm "$T/$NAME"
		for path in "$T/$NAME" "$MODULE" "$MNT/npy/$NAME.npy"; do
			assert_errno ENOENT stat "$path"
			assert_errno ENOENT open-read "$path"
		done
		assert_errno ENOENT unlink "$MODULE"
		[ "$opened" = no ] || exec {held}<&-
		control 'restore\n'
	done
	wl_umount "$MNT"
}

@test "caches: what a mapping of the shard holds is counted, and dropped once it ends" {
	make_tiny tiny-llama "$CKPT"
	mount_clean
	run -0 python - "$SHARD" "$T/lm_head.weight" "$MNT/.wload/stats.json" <<-'PY'
		import json, os, sys
		from resident import Mapped
		m = Mapped(sys.argv[1])
		m.touch()
		os.unlink(sys.argv[2])
		print(json.load(open(sys.argv[3]))["held_bytes"])
	PY
	assert_output --regexp '^[1-9][0-9]{5,}$'
	# shellcheck disable=SC2016 # a condition, evaluated there
	wait_until '[ "$(stats_field held_bytes)" = 0 ]'
	assert_equal "$(resident_pages lm_head.weight)" 0
	wl_umount "$MNT"
}

@test "caches: both ends of a tensor between live ones are let go" {
	make_tensors "$CKPT" < <(for i in {1..3}; do echo "t.$i U8 9000001"; done)
	mount_clean
	cat "$SHARD" >/dev/null
	rm "$T/t.2"
	assert_equal "$(resident_pages t.2)" 0
	wl_umount "$MNT"
}

@test "caches: a shard that was written a moment ago is let go too" {
	make_tensors "$CKPT" < <(for i in {1..3}; do echo "t.$i U8 9000001"; done)
	wl_mount "$CKPT" "$MNT"
	dd if="$SHARD" of="$SHARD" bs=1M conv=notrunc status=none # dirty, as it was
	rm "$T/t.2"
	assert_equal "$(resident_pages t.2)" 0
	wl_umount "$MNT"
}
