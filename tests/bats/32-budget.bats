#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# -o budget= and -o consume=read: loaders that never remove anything read checkpoints that their
# memory could not hold. The witnesses are fincore, smaps and the memory cgroup that daemon and client
# are in; and whatever reads, maps and consumes beside the evictor always ends.

load helper

setup_file() {
	export BATS_TEST_TIMEOUT=180
}

setup() {
	require fuse disk
	wl_paths
	SHARD=$CKPT/model.safetensors
	CGROUP=''
}

teardown() {
	wl_cleanup
	leave_cgroup
}

leave_cgroup() {
	[ -z "${CGROUP-}" ] || rmdir "$CGROUP" || true
	CGROUP=''
}

# make_shard COUNT BYTES [OPTIONS…]: one shard of tensors t.1, t.2, …; clean, so that it can be dropped.
make_shard() {
	local count=$1 bytes=$2
	shift 2
	make_tensors "$CKPT" "$@" < <(for ((i = 1; i <= count; i++)); do echo "t.$i U8 $bytes"; done)
	sync "$CKPT"/*
}

cached_bytes() {
	local bytes
	bytes=$(fincore -b -n -o RES "$1")
	echo $((bytes))
}

budget_field() { jq -r --arg field "$1" '.budget[$field]' "$MNT/.wload/stats.json"; }

# ---- the command line ----

@test "budget: what contradicts or is no size is refused with a sentence" {
	make_shard 2 100
	while IFS='|' read -r options said; do
		run --separate-stderr -2 "$WLOADFS" -f -o "$options" "$CKPT" "$MNT"
		# shellcheck disable=SC2154 # set by run
		assert_equal "$stderr" "wloadfs: $said; 'wloadfs --help' lists what is"
	done <<-'ROWS'
		budget=64M,shards=passthrough|budget needs to see the reads of shards, which shards=passthrough leaves to the kernel
		consume=read,shards=passthrough|consume=read needs to see the reads of shards, which shards=passthrough leaves to the kernel
		budget=15M|budget='15M' is not a size of at least 16M, as 512M, 1G or 2147483648
		budget=lots|budget='lots' is not a size of at least 16M, as 512M, 1G or 2147483648
		budget=-1|budget='-1' is not a size of at least 16M, as 512M, 1G or 2147483648
		budget=|budget='' is not a size of at least 16M, as 512M, 1G or 2147483648
		budget=64M,prefetch=65M|prefetch='65M' leaves less than 16M of budget='64M' to readers
		budget=64M,prefetch=49M|prefetch='49M' leaves less than 16M of budget='64M' to readers
		prefetch=1000K|prefetch='1000K' is not a size of at least 1M, as 512M, 1G or 2147483648
		consume=write|consume='write' is not 'read'
	ROWS
}

@test "budget: stats.json says what is limited, and nothing where nothing is" {
	make_shard 2 100
	wl_mount "$CKPT" "$MNT" -o shards=served
	run -0 jq -c '[.budget, .reread_bytes, .shards.consume, .shards.budget]' "$MNT/.wload/stats.json"
	assert_output '[null,0,"unlink",false]'
	wl_umount "$MNT"
	wl_mount "$CKPT" "$MNT" -o budget=64M
	run -0 jq -c '[.budget.limit_bytes, .budget.used_bytes, .shards.mode, .shards.budget, .shards.consume]' \
		"$MNT/.wload/stats.json"
	assert_output '[67108864,0,"served",true,"unlink"]'
	wl_umount "$MNT"
	wl_mount "$CKPT" "$MNT" --consume=read
	run -0 jq -c '[.budget.limit_bytes, .shards.mode, .shards.budget, .shards.consume]' \
		"$MNT/.wload/stats.json"
	assert_output '[null,"served",false,"read"]'
	wl_umount "$MNT"
}

# ---- what is cached ----

@test "budget: a shard larger than it is read and mapped right, and no more is cached than it says" {
	make_shard 40 2000001
	for options in budget=16M budget=16M,no_dontcache budget=16M,no_cachestat,no_async_read; do
		wl_mount "$CKPT" "$MNT" -o "$options"
		cmp "$MNT/model.safetensors" "$SHARD"
		assert [ "$(cached_bytes "$MNT/model.safetensors")" -le $((16 << 20)) ]
		run -0 python3 - "$MNT/model.safetensors" "$SHARD" <<-'PY'
			import mmap, sys
			maps = []
			for path in sys.argv[1:]:
			    with open(path, "rb") as file:
			        maps.append(mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ))
			print(all(maps[0][i:i + 99999] == maps[1][i:i + 99999] for i in range(0, len(maps[1]), 99999)))
		PY
		assert_output True
		assert [ "$(cached_bytes "$MNT/model.safetensors")" -le $((16 << 20)) ]
		for i in {1..40}; do
			assert_tensor "$MNT/tensors/t.$i" "t.$i"
		done
		assert [ "$(budget_field peak_bytes)" -le $((16 << 20)) ]
		assert [ "$(budget_field evicted_bytes)" -gt $((100 << 20)) ]
		assert [ "$(stats_field reread_bytes)" -gt $((60 << 20)) ]
		# cmp and map read the bare file as well, which counts too.
		# shellcheck disable=SC2016 # a condition, evaluated there
		wait_until '[ "$(cached_bytes "$SHARD")" -le $((16 << 20)) ]'
		wl_umount "$MNT"
	done
}

@test "budget: what fits stays, is read once, and goes with its tensors" {
	make_shard 8 1000001
	wl_mount "$CKPT" "$MNT" -o budget=32M
	cat "$MNT/model.safetensors" "$MNT"/tensors/* "$MNT/model.safetensors" >/dev/null
	assert_equal "$(stats_field reread_bytes)" 0
	assert [ "$(stats_field served_bytes)" -lt $((17 << 20)) ] # once the shard, once the tensors
	assert_equal "$(cached_bytes "$SHARD")" 0
	assert [ "$(budget_field used_bytes)" -ge $((15 << 20)) ]
	control 'all\n'
	assert_equal "$(budget_field used_bytes)" 0
	assert_equal "$(cached_bytes "$MNT/model.safetensors")" 0
	wl_umount "$MNT"
}

@test "budget: what others cached of the shards is dropped when it is too much" {
	make_shard 40 2000001
	cat "$SHARD" >/dev/null
	assert [ "$(cached_bytes "$SHARD")" -ge 80000000 ]
	wl_mount "$CKPT" "$MNT" -o budget=16M
	# shellcheck disable=SC2016 # conditions, evaluated there
	wait_until '[ "$(cached_bytes "$SHARD")" -le $((16 << 20)) ]'
	cat "$SHARD" >/dev/null
	# shellcheck disable=SC2016
	wait_until '[ "$(cached_bytes "$SHARD")" -le $((16 << 20)) ]'
	wl_umount "$MNT"
}

@test "budget: a daemon that may not count pages drops what others cached, and keeps to its own limit" {
	require root
	make_shard 40 2000001
	chown -R 12345 "$CKPT"
	printf '#!/bin/sh\nexec setpriv --bounding-set %s "%s" "$@"\n' -fowner,-dac_override \
		"$WLOADFS" >"$BATS_TEST_TMPDIR/wloadfs"
	chmod +x "$BATS_TEST_TMPDIR/wloadfs"
	"$BATS_TEST_TMPDIR/wloadfs" --version >/dev/null || skip 'capabilities cannot be dropped here'
	WLOADFS=$BATS_TEST_TMPDIR/wloadfs wl_mount "$CKPT" "$MNT" -o budget=16M
	assert_equal "$(stats_field resident_bytes)" null
	cat "$SHARD" >/dev/null
	# shellcheck disable=SC2016 # a condition, evaluated there
	wait_until '[ "$(cached_bytes "$SHARD")" -le $((16 << 20)) ]'
	cmp "$MNT/model.safetensors" "$SHARD"
	assert [ "$(cached_bytes "$MNT/model.safetensors")" -le $((16 << 20)) ]
	wl_umount "$MNT"
}

# Counting all of their pages by mincore takes a second or more, and begins with the mount.
@test "budget: without cachestat, a look at large shards holds up neither consumption nor readers" {
	make_tensors "$CKPT" --sparse < <(
		for i in {1..24}; do echo "t.$i U8 4294967296"; done
		for i in {1..20}; do echo "small.$i U8 4096"; done
	)
	wl_mount "$CKPT" "$MNT" -o budget=16M,no_cachestat
	run -0 timeout 120 python3 - "$MNT" <<-'PY'
		import os, sys, time
		mnt = sys.argv[1]

		def took(call, *args):
		    begun = time.monotonic()
		    call(*args)
		    return time.monotonic() - begun

		def read(path, count=1):
		    with open(path, "rb", buffering=0) as file:
		        for _ in range(count):
		            file.read(1 << 20)

		waits = []
		for i in range(1, 21):
		    path = f"{mnt}/tensors/small.{i}"
		    read(path) # what was opened is left to the evictor
		    waits.append(took(os.unlink, path))
		read(f"{mnt}/tensors/t.3", 400)
		print(max(waits) < 0.6, f"{max(waits):.3f} s")
	PY
	assert_output --partial True
	assert [ "$(budget_field peak_bytes)" -le $((16 << 20)) ]
	wl_umount "$MNT"
}

@test "budget: a tensor that is mapped when it is consumed leaves the mapping, and faults in again" {
	make_shard 8 1000001
	wl_mount "$CKPT" "$MNT" -o budget=32M
	run -0 timeout 60 python3 - "$MNT/tensors/t.3" <<-'PY'
		import mmap, os, sys

		def rss(path):
		    total, ours = 0, False
		    for line in open("/proc/self/smaps"):
		        if line.split()[0].count("-") == 1:
		            ours = path in line
		        elif ours and line.startswith("Rss:"):
		            total += int(line.split()[1])
		    return total

		def mapped(path):
		    with open(path, "rb") as file:
		        m = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
		    return m, bytes(m)

		m, want = mapped(sys.argv[1])
		before = rss("/tensors/t.3")
		os.unlink(sys.argv[1])
		print(before >= 976, rss("/tensors/t.3"), bytes(m) == want)
	PY
	assert_output 'True 0 True'
	# shellcheck disable=SC2016 # a condition, evaluated there
	wait_until '[ "$(budget_field used_bytes)" = 0 ]'
	wl_umount "$MNT"
}

@test "budget: what is read again is counted once, whatever had dropped it" {
	make_shard 8 1000001
	wl_mount "$CKPT" "$MNT" -o budget=32M
	cat "$MNT/model.safetensors" >/dev/null
	control 'all\n'
	cat "$MNT/model.safetensors" >/dev/null
	served=$(stat -c %s "$SHARD")
	assert [ "$(stats_field reread_bytes)" -le $((served + 4096)) ]
	assert [ "$(stats_field reread_bytes)" -gt $((served - (512 << 10))) ]
	wl_umount "$MNT"
}

@test "consume=read: nothing stays once reading pauses, and a second read is right" {
	make_shard 40 2000001
	cat "$SHARD" >/dev/null # cached before, in large folios
	for _ in 1 2; do
		wl_mount "$CKPT" "$MNT" -o consume=read
		dd if="$MNT/model.safetensors" of=/dev/null bs=1M status=none
		assert [ "$(budget_field peak_bytes)" -le $((32 << 20)) ]
		# shellcheck disable=SC2016 # conditions, evaluated there
		wait_until '[ "$(cached_bytes "$MNT/model.safetensors")$(cached_bytes "$SHARD")" = 00 ]' 3
		assert_equal "$(budget_field used_bytes)" 0
		assert_equal "$(stats_field consumed_tensors)" 0
		for i in {1..40}; do
			assert_tensor "$MNT/tensors/t.$i" "t.$i"
		done
		assert [ "$(stats_field reread_bytes)" -ge 79000000 ]
		wl_umount "$MNT"
	done
}

@test "consume=read: what is mapped is taken away, and faults in again" {
	make_shard 10 2000001
	wl_mount "$CKPT" "$MNT" -o consume=read,budget=24M
	run -0 timeout 60 python3 - "$MNT/model.safetensors" "$SHARD" <<-'PY'
		import mmap, sys, time
		path, shard = sys.argv[1:]
		want = open(shard, "rb").read()
		with open(path, "rb") as file:
		    m = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)

		def rss():
		    total, ours = 0, False
		    for line in open("/proc/self/smaps"):
		        if line.split()[0].count("-") == 1:
		            ours = line.rstrip().endswith(path)
		        elif ours and line.startswith("Rss:"):
		            total += int(line.split()[1])
		    return total

		for _ in range(2):
		    same = bytes(m) == want
		    end = time.monotonic() + 20
		    while rss() and time.monotonic() < end:
		        time.sleep(0.02)
		    print(same, rss())
	PY
	assert_output "$(printf 'True 0\nTrue 0')"
	wl_umount "$MNT"
}

# ---- storms ----

# storm SECONDS OPTIONS…: everything at once; bytes are right, and it ends.
storm() {
	local seconds=$1 seed=${SEED:-$RANDOM}
	shift
	echo "SEED=$seed"
	wl_mount "$CKPT" "$MNT" "$@"
	run --separate-stderr -0 timeout -k 5 $((seconds + 60)) \
		"$BATS_TEST_DIRNAME/../tools/budget_storm.py" "$MNT" "$SHARD" 48 "$seconds" "$seed"
	assert_output '[] True'
	echo "# $*: $stderr, $(budget_field parked_reads) parked, peak $(budget_field peak_bytes)" >&3
	wl_umount "$MNT"
}

@test "budget: readers, mappings and consumption beside each other end, with one worker" {
	make_shard 48 1500001
	storm 5 -s -o budget=16M
	storm 4 -s -o budget=20M,consume=read,no_async_read
}

@test "budget: readers, mappings and consumption beside each other end, with many workers" {
	make_shard 48 1500001
	storm 5 -o budget=16M
	storm 4 -o consume=read,no_dontcache,no_cachestat,no_epoch,no_large_requests
}

@test "budget: a signal, a lazy unmount and a killed daemon end a storm" {
	make_shard 48 1500001
	for how in TERM lazy KILL; do
		wl_mount "$CKPT" "$MNT" -o budget=20M,prefetch=4M,trace,ranks=2
		timeout -k 5 60 "$BATS_TEST_DIRNAME/../tools/budget_storm.py" "$MNT" "$SHARD" 48 30 1 \
			>/dev/null 2>&1 3>&- &
		storm=$!
		# shellcheck disable=SC2016 # a condition, evaluated there
		wait_until '[ "$(budget_field evicted_bytes)" -gt 30000000 ]'
		case $how in
		TERM)
			kill -TERM "${WL_PIDS[$MNT]}"
			wl_ended "$MNT"
			;;
		lazy)
			umount -l "$MNT"
			kill -TERM "$storm"
			wl_ended "$MNT"
			;;
		KILL)
			kill -KILL "${WL_PIDS[$MNT]}"
			# Its evictor may be waiting, in the kernel, for a READ that nobody answers any
			# more: only aborting the connection ends that (wloadfs(1), BUGS).
			umount -fci "$MNT" || umount -l "$MNT"
			# shellcheck disable=SC2016 # a condition, evaluated there
			wait_until '! is_running "${WL_PIDS[$MNT]}"'
			wait "${WL_PIDS[$MNT]}" || true
			unset "WL_PIDS[$MNT]"
			;;
		esac
		kill -TERM "$storm" 2>/dev/null || true
		wait "$storm" || true
	done
}

# ---- loaders in a cgroup ----

# cgrouped_mount LIMIT [OPTIONS…]: a fresh cgroup, and a daemon in it.
cgrouped_mount() {
	local most=$1
	shift
	leave_cgroup
	probe_cgroup || return 1
	echo "$most" >"$CGROUP/$LIMIT"
	cat >"$BATS_TEST_TMPDIR/wloadfs" <<-SH
		#!/bin/sh
		echo \$\$ >"$CGROUP/cgroup.procs" && exec "$WLOADFS" "\$@"
	SH
	chmod +x "$BATS_TEST_TMPDIR/wloadfs"
	WLOADFS=$BATS_TEST_TMPDIR/wloadfs wl_mount "$CKPT" "$MNT" "$@"
}

# Every tensor is taken with safe_open, summed and let go.
sum_tensors() {
	limited "$1" "$PYTHON" - "$2" <<-'PY'
		import glob, sys, zlib
		from safetensors import safe_open
		crc = 0
		for path in sorted(glob.glob(f"{sys.argv[1]}/*.safetensors")):
		    with safe_open(path, "np") as file:
		        for name in file.keys():
		            tensor = file.get_tensor(name)
		            crc = zlib.crc32(tensor, crc)
		            del tensor
		print(crc)
	PY
}

@test "budget: safe_open reads four times what the cgroup has, and the limit is never hit" {
	require cgroup pypi
	local most=$((256 << 20)) spare=$((64 << 20))
	make_shard 128 $((8 << 20)) --sparse
	leave_cgroup
	probe_cgroup
	run -0 sum_tensors "$most" "$CKPT"
	want=$output
	echo "# bare folder: peak $(($(peak_bytes) >> 20)) MiB of 256, limit hit $(limit_hits) times" >&3
	for options in budget=96M consume=read budget=16M; do
		case $options in
		budget=*) allowed=$((${options//[^0-9]/} << 20)) ;;
		*) allowed=$((32 << 20)) ;;
		esac
		cgrouped_mount "$most" -o "$options"
		run -0 sum_tensors "$most" "$MNT"
		assert_output "$want"
		echo "# $options: peak $(($(peak_bytes) >> 20)) MiB, limit hit $(limit_hits) times" >&3
		assert [ "$(peak_bytes)" -le $((allowed + spare)) ]
		assert_equal "$(limit_hits)" 0
		wl_umount "$MNT"
	done
}

# A model of 133 MB: the parameters are the client's own memory, which the limit leaves room for; the
# page cache beside them is what is limited.
@test "budget: transformers' from_pretrained gives the same logits, and the limit is never hit" {
	require cgroup
	torch_python=$("$WL_ROOT/scripts/venv-torch") || lacks transformers 'torch and transformers cannot be installed'
	cat >"$BATS_TEST_TMPDIR/model.py" <<-'PY'
		import os, resource, sys
		os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
		import torch
		from transformers import LlamaConfig, LlamaForCausalLM
		from transformers.utils import logging
		logging.disable_progress_bar()
		torch.set_num_threads(1)
		what, folder = sys.argv[1:3]
		if what == "make":
		    torch.manual_seed(1)
		    LlamaForCausalLM(LlamaConfig(vocab_size=8000, hidden_size=512, intermediate_size=1536,
		                                 num_hidden_layers=8, num_attention_heads=8,
		                                 num_key_value_heads=4)).save_pretrained(folder, max_shard_size="40MB")
		else:
		    model = LlamaForCausalLM.from_pretrained(folder)
		    with torch.no_grad():
		        logits = model(torch.arange(16)[None]).logits
		    torch.save(logits, sys.argv[3])
		    if len(sys.argv) > 4:
		        print(torch.equal(logits, torch.load(sys.argv[4])))
	PY
	"$torch_python" "$BATS_TEST_TMPDIR/model.py" make "$CKPT"
	sync "$CKPT"/*
	most=$((1 << 30))
	"$torch_python" "$BATS_TEST_TMPDIR/model.py" load "$CKPT" "$BATS_TEST_TMPDIR/bare" # libraries are cached
	python3 -c 'import os, sys
for p in sys.argv[1:]: os.posix_fadvise(os.open(p, os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)' "$CKPT"/*
	leave_cgroup
	probe_cgroup
	limited "$most" "$torch_python" "$BATS_TEST_TMPDIR/model.py" load "$CKPT" "$BATS_TEST_TMPDIR/bare"
	bare=$(peak_bytes)
	for options in budget=16M consume=read; do
		cgrouped_mount "$most" -o "$options"
		run -0 limited "$most" "$torch_python" "$BATS_TEST_TMPDIR/model.py" load "$MNT" \
			"$BATS_TEST_TMPDIR/ours" "$BATS_TEST_TMPDIR/bare"
		assert_output True
		echo "# $options: peak $(($(peak_bytes) >> 20)) MiB, bare $((bare >> 20)) MiB" >&3
		assert_equal "$(limit_hits)" 0
		assert [ "$(budget_field peak_bytes)" -le $((32 << 20)) ]
		wl_umount "$MNT"
	done
}
