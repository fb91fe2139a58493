#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# Every means of the kernel's that a mount uses can be left out: by its option, or because a kernel
# does not have it. The mount does the same without it, and stats.json says what is off, and why.

load helper

setup() {
	require fuse
	wl_paths
	T=$MNT/tensors
	SHARD=$CKPT/model.safetensors
	NAME=model.layers.0.mlp.up_proj.weight
	MODULE=$MNT/modules/model/layers/0/mlp/up_proj/weight
	HOLDERS=()
	ALL=(passthrough direct_mmap epoch parallel_dirops readdirplus async_read async_dio
		explicit_inval large_requests cachestat split dontcache read_ahead)
}

teardown() {
	[ "${#HOLDERS[@]}" = 0 ] || kill "${HOLDERS[@]}" 2>/dev/null || true
	wl_cleanup
}

feature() { jq -c --arg name "$1" '.features[$name]' "$MNT/.wload/stats.json"; }

features_off() { jq -r '[.features | to_entries[] | select(.value.on | not).key] | sort | join(" ")' \
	"$MNT/.wload/stats.json"; }

# All bytes by all ways of reading.
assert_reads_right() {
	cmp "$SHARD" "$MNT/model.safetensors"
	"$CHECK_STAMPS" --quiet "$MNT/model.safetensors" "$T"
	run -0 "$PROBE" random "$T/lm_head.weight" lm_head.weight 7 4 50
	run -0 "$PROBE" map private "$T/lm_head.weight" lm_head.weight
	run -0 "$PROBE" map shared "$T/lm_head.weight" lm_head.weight
	cmp "$CKPT/config.json" "$MNT/config.json"
	tail -c "$(stat -c %s "$T/$NAME")" "$MNT/npy/$NAME.npy" | cmp - "$T/$NAME"
}

# Names go, also those that the kernel knows and has open; open ones read on; nothing is left.
assert_consumes_right() {
	ls -l "$T" >/dev/null
	stat "$MODULE" "$MNT/npy/$NAME.npy" >/dev/null
	exec {held}<"$MODULE"
	rm "$T/$NAME"
	for path in "$T/$NAME" "$MODULE" "$MNT/npy/$NAME.npy"; do
		assert_errno ENOENT stat "$path"
		assert_errno ENOENT open-read "$path"
	done
	run -0 "$PROBE" stamps - "$NAME" <&"$held"
	exec {held}<&-
	assert_equal "$(count_files "$T")" 29
	run -0 control 'prefix model\n'
	assert_output 28
	rm "$T/lm_head.weight"
	assert_equal "$(count_files "$MNT/modules")" 0
	assert_equal "$("$PROBE" resident "$SHARD")" 0
	# shellcheck disable=SC2016 # conditions, evaluated there
	wait_until '[ "$(stats_field resident_bytes) $(stats_field held_bytes)" = "0 0" ]'
	control 'restore\n' >/dev/null
	assert_tensor "$T/$NAME" "$NAME"
}

# without FEATURE…: mounts with each switched off, and tries everything.
without() {
	local each options='' want

	rm -rf "$CKPT"
	make_tiny tiny-llama "$CKPT"
	sync -f "$CKPT"
	for each in "$@"; do
		options+=,no_$each
	done
	wl_mount "$CKPT" "$MNT" -o "${options#,}"
	cat "$MNT/model.safetensors" >/dev/null
	for each in "$@"; do
		assert_equal "$(feature "$each")" '{"on":false,"why":"asked for"}'
	done
	want=$( (printf '%s\n' "$@"; tr ' ' '\n' <<<"$NORMALLY_OFF") | sed '/^$/d' | LC_ALL=C sort -u | xargs)
	assert_equal "$(features_off)" "$want"
	assert_reads_right
	assert_consumes_right
}

# What this kernel does not have anyway.
see_what_is_normal() {
	require disk
	mount_tiny
	cat "$MNT/model.safetensors" >/dev/null
	NORMALLY_OFF=$(features_off)
	wl_umount "$MNT"
}

@test "features: stats.json names every one, with its state" {
	mount_tiny
	run -0 jq -r '.features | keys_unsorted | join(" ")' "$MNT/.wload/stats.json"
	assert_output "${ALL[*]}"
	run -0 jq -r '.features[] | (.on == (.why == null))' "$MNT/.wload/stats.json"
	refute_output --partial false
	run -0 "$WLOAD" stats "$MNT"
	assert_output --partial 'parallel dirops:'
	wl_umount "$MNT"
}

@test "features: each has an option, in --help and in the man page" {
	run -0 "$WLOADFS" --help
	for each in "${ALL[@]}"; do
		assert_line --regexp "^    -o no_$each +[a-z]"
		grep -q "^\.It Fl o Cm no_$each\$" "$WL_ROOT/fs/wloadfs.1" || fail "no_$each is in no man page"
	done
	assert_equal "$(grep -c '^    -o no_' <<<"$output")" "${#ALL[@]}"
	run -2 "$WLOADFS" -o no_such_thing "$CKPT" "$MNT"
	assert_output --partial "'no_such_thing' is not understood"
	run -2 "$WLOADFS" -o shards=passthrough,no_passthrough "$CKPT" "$MNT"
	assert_output --partial 'contradict'
}

@test "features: without one that reads, everything works" {
	see_what_is_normal
	for each in passthrough direct_mmap async_read async_dio large_requests; do
		without "$each"
		wl_umount "$MNT"
	done
}

@test "features: without one that names and pages need, everything works" {
	see_what_is_normal
	for each in epoch parallel_dirops readdirplus explicit_inval cachestat split; do
		without "$each"
		wl_umount "$MNT"
	done
}

@test "features: without any, as on an old kernel, everything works, and wload loads" {
	see_what_is_normal
	without "${ALL[@]}"
	assert_equal "$(jq -r .shards.mode "$MNT/.wload/stats.json")" served
	assert_equal "$(jq -r .shards.why "$MNT/.wload/stats.json")" 'asked for'
	assert_equal "$(stats_field tensor_files) $(stats_field bulk_invalidation)" 'cached false'
	"$WLOAD" load "$MNT" --device host --verify --quiet --json >"$REPORT"
	assert_equal "$(field consumed_tensors)" 30
	assert_equal "$(count_files "$T")" 0
	assert_equal "$("$PROBE" resident "$SHARD")" 0
	wl_umount "$MNT"
}

@test "features: shards=served and no_passthrough are one thing" {
	make_tiny tiny-llama "$CKPT"
	for option in shards=served no_passthrough; do
		wl_mount "$CKPT" "$MNT" -o "$option"
		assert_equal "$(feature passthrough)" '{"on":false,"why":"asked for"}'
		assert_equal "$(jq -c '.shards | [.asked, .mode, .why]' "$MNT/.wload/stats.json")" \
			'["served","served","asked for"]'
		wl_umount "$MNT"
	done
}

# The largest reply of a daemon that prints them.
largest_reply() { grep -o 'outsize: [0-9]*' "${WL_LOGS[$MNT]}" | sort -k2n | tail -n1 | tr -dc 0-9; }

@test "features: switched off, large requests and READDIRPLUS are not used" {
	make_tensors "$CKPT" <<<'w F32 1024,1024'
	wl_mount "$CKPT" "$MNT" -d
	dd if="$T/w" of=/dev/null bs=2M status=none
	ls -l "$T" >/dev/null
	assert [ "$(largest_reply)" -gt 200000 ]
	grep -q READDIRPLUS "${WL_LOGS[$MNT]}"
	wl_umount "$MNT"
	: >"${WL_LOGS[$MNT]}"
	wl_mount "$CKPT" "$MNT" -d -o no_large_requests,no_readdirplus
	dd if="$T/w" of=/dev/null bs=2M status=none
	ls -l "$T" >/dev/null
	assert_equal "$(largest_reply)" $((131072 + 16))
	run ! grep -q READDIRPLUS "${WL_LOGS[$MNT]}"
	grep -q 'READDIR' "${WL_LOGS[$MNT]}"
	wl_umount "$MNT"
}

# filtered OPTIONS CALL[:ARGUMENT:VALUE]=ERRNO…: mounts with a daemon to which some system calls
# answer an errno (seccomp(2)), as on a kernel that lacks them.
filtered() {
	local options=$1
	shift
	cat >"$BATS_TEST_TMPDIR/filter.py" <<-'PY'
		import ctypes, errno, os, platform, re, struct, sys
		numbers = {"cachestat": {}, "madvise": {"x86_64": 28, "aarch64": 233},
		           "ioctl": {"x86_64": 16, "aarch64": 29}}
		LOAD, JEQ, RET, ALLOW, ERRNO = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050000
		code, end = [], sys.argv.index("--")
		for rule in sys.argv[1:end]:
		    call, argument, value, name = re.fullmatch(r"(\w+)(?::(\d):(\w+))?=(\w+)", rule).groups()
		    body = [(RET, 0, 0, ERRNO | getattr(errno, name))]
		    if argument:
		        body = [(LOAD, 0, 0, 16 + 8 * int(argument)), (JEQ, 0, 1, int(value, 0))] + body
		    number = numbers[call].get(platform.machine(), 451)
		    code += [(LOAD, 0, 0, 0), (JEQ, 0, len(body), number)] + body
		code.append((RET, 0, 0, ALLOW))
		program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *c) for c in code))
		filter = struct.pack("HxxxxxxP", len(code), ctypes.addressof(program))
		libc = ctypes.CDLL(None, use_errno=True)
		if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, filter, 0, 0):
		    sys.exit(77)
		os.execv(sys.argv[end + 1], sys.argv[end + 1:])
	PY
	cat >"$BATS_TEST_TMPDIR/wloadfs" <<-SH
		#!/bin/sh
		exec python3 "$BATS_TEST_TMPDIR/filter.py" $* -- "$WLOADFS" "\$@"
	SH
	chmod +x "$BATS_TEST_TMPDIR/wloadfs"
	python3 "$BATS_TEST_TMPDIR/filter.py" -- /bin/true || skip 'system calls cannot be filtered here'
	WLOADFS=$BATS_TEST_TMPDIR/wloadfs wl_mount "$CKPT" "$MNT" -o "$options"
}

@test "features: what the kernel lacks is named so, and done without" {
	require disk root
	make_tiny tiny-llama "$CKPT"
	sync -f "$CKPT"
	filtered rw cachestat=ENOSYS madvise:2:22=EINVAL
	for each in cachestat split; do
		assert_equal "$(feature "$each")" '{"on":false,"why":"the kernel does not offer it"}'
	done
	cat "$MNT/model.safetensors" >/dev/null
	assert_reads_right
	assert_consumes_right
	wl_umount "$MNT"
}

# mincore(2) says "all resident" of a file that is not the caller's to know of.
@test "features: without cachestat, the cached pages of another user's files are unknown, not all" {
	require disk root
	make_tiny tiny-llama "$CKPT"
	sync -f "$CKPT"
	chown -R 12345 "$CKPT"
	printf '#!/bin/sh\nexec setpriv --bounding-set %s "%s" "$@"\n' -fowner,-dac_override \
		"$WLOADFS" >"$BATS_TEST_TMPDIR/wloadfs"
	chmod +x "$BATS_TEST_TMPDIR/wloadfs"
	"$BATS_TEST_TMPDIR/wloadfs" --version || skip 'capabilities cannot be dropped here'
	for options in no_cachestat rw; do
		WLOADFS=$BATS_TEST_TMPDIR/wloadfs wl_mount "$CKPT" "$MNT" -o "$options"
		assert_equal "$(stats_field resident_bytes)" null
		cat "$T/$NAME" >/dev/null
		rm "$T/$NAME"
		assert_equal "$(stats_field resident_bytes)" null
		# What its neighbours' folios may hold of it is not forgotten, until they went as well.
		assert [ "$(stats_field held_bytes)" -gt 0 ]
		rm "$T"/*
		# shellcheck disable=SC2016 # a condition, evaluated there
		wait_until '[ "$(stats_field held_bytes)" = 0 ]'
		wl_umount "$MNT"
	done
	wl_mount "$CKPT" "$MNT" -o no_cachestat # with every right, it knows
	cat "$T/lm_head.weight" >/dev/null
	assert [ "$(stats_field resident_bytes)" -gt 100000 ]
	wl_umount "$MNT"
}

# The number of the request that registers a backing file.
BACKING_OPEN=0x4010e501

@test "passthrough: without the right to it the first open decides for all, and they are served" {
	require root
	require_passthrough
	make_tiny tiny-llama "$CKPT" --max-shard-size 2MB
	for mode in auto passthrough; do
		filtered "shards=$mode" "ioctl:1:$BACKING_OPEN=EPERM"
		if [ "$mode" = passthrough ]; then
			for file in "$MNT"/*.safetensors; do
				assert_errno EPERM open-read "$file"
			done
		else
			for file in "$CKPT"/*; do
				cmp "$MNT/${file##*/}" "$file"
			done
		fi
		assert_equal "$(feature passthrough)" '{"on":false,"why":"Operation not permitted"}'
		run -0 jq -c '.shards | [.asked, .mode, .why, .registrations, .passthrough_opens]' \
			"$MNT/.wload/stats.json"
		assert_output "[\"$mode\",\"served\",\"Operation not permitted\",0,0]"
		wl_umount "$MNT"
	done
}

@test "passthrough: any number of opens of a file, by any process, share one registration" {
	require root
	require_passthrough
	make_tiny tiny-llama "$CKPT" --max-shard-size 2MB
	wl_mount "$CKPT" "$MNT"
	cat >"$BATS_TEST_TMPDIR/open.py" <<-'PY'
		import hashlib, os, sys, threading
		path, count, go, done = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
		want = hashlib.sha256(open(sys.argv[5], "rb").read()).digest()
		fds, wrong = [], []
		barrier = threading.Barrier(count)
		def run():
		    barrier.wait()
		    fd = os.open(path, os.O_RDONLY)
		    fds.append(fd)
		    with open(fd, "rb", closefd=False) as f:
		        if hashlib.sha256(f.read()).digest() != want:
		            wrong.append(fd)
		threads = [threading.Thread(target=run) for _ in range(count)]
		for t in threads: t.start()
		for t in threads: t.join()
		with open(done, "w") as f:
		    f.write(f"{len(fds)} {len(wrong)}\n")
		open(go).read()
	PY
	mkfifo "$BATS_TEST_TMPDIR/go"
	exec {go}<>"$BATS_TEST_TMPDIR/go" # until it is closed, whoever reads it waits
	before=$(jq .shards.registrations "$MNT/.wload/stats.json")
	shard=model-00002-of-00004.safetensors
	for i in 1 2; do
		python3 "$BATS_TEST_TMPDIR/open.py" "$MNT/$shard" 40 "$BATS_TEST_TMPDIR/go" \
			"$BATS_TEST_TMPDIR/done.$i" "$CKPT/$shard" 3>&- {go}>&- &
		HOLDERS+=($!)
	done
	for i in 1 2; do
		wait_until "[ -s '$BATS_TEST_TMPDIR/done.$i' ]"
		assert_equal "$(cat "$BATS_TEST_TMPDIR/done.$i")" '40 0'
	done
	run -0 jq -c '[.shards.registrations, .shards.passthrough_opens, .shards.served_opens]' \
		"$MNT/.wload/stats.json"
	# One more when the first process had closed everything before the second began: neither has.
	assert_output "[$((before + 1)),80,0]"
	exec {go}>&- # both read its end
	wait "${HOLDERS[@]}"
	HOLDERS=()
	wait_until "cmp -s '$CKPT/$shard' '$MNT/$shard'"
	assert_equal "$(jq .shards.registrations "$MNT/.wload/stats.json")" $((before + 2))
	assert_equal "$(stats_field served_bytes)" 0
	wl_umount "$MNT"
}

@test "passthrough: opens that come while the first one registers the file wait for that" {
	require root
	require_passthrough
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT" "$MNT"
	run -0 python3 - "$MNT/model.safetensors" 1000 <<-'PY'
		import mmap, os, signal, struct, sys
		path, rounds = sys.argv[1], int(sys.argv[2])
		shared = mmap.mmap(-1, 4096) # how often each process was where it waits for the other
		child = os.fork()
		me = child == 0
		signal.alarm(30) # when the other one is no more
		def meet(n): # by looking, as waking one of them takes longer than an open
		    struct.pack_into("q", shared, 8 * me, n)
		    while struct.unpack_from("q", shared, 8 * (not me))[0] < n:
		        pass
		for i in range(rounds):
		    meet(3 * i + 1)
		    fd = os.open(path, os.O_RDONLY)
		    meet(3 * i + 2)
		    os.pread(fd, 1, 0)
		    os.close(fd)
		    meet(3 * i + 3)
		if me:
		    os._exit(0)
		sys.exit(os.waitpid(child, 0)[1])
	PY
	run -0 jq -c '.shards | [.registrations <= 1000, .passthrough_opens, .served_opens]' \
		"$MNT/.wload/stats.json"
	assert_output '[true,2000,0]'
	wl_umount "$MNT"
}

# Blocks of a tmpfs that a file would still take if anybody had it open.
used_blocks() { stat -f -c '%b %f' "$1" | { read -r all free && echo $((all - free)); }; }

# A registration is a file open in the kernel, which no process shows. So the file is removed: a
# filesystem in memory tells whether anybody still has it.
@test "passthrough: a file stays registered until its last handle goes, and no longer" {
	require root
	require_passthrough
	mkdir "$BATS_TEST_TMPDIR/memory"
	mount -t tmpfs none "$BATS_TEST_TMPDIR/memory" || skip 'no tmpfs may be mounted'
	make_tiny tiny-llama "$BATS_TEST_TMPDIR/memory"
	before=$(used_blocks "$BATS_TEST_TMPDIR/memory")
	head -c 4000000 /dev/urandom >"$BATS_TEST_TMPDIR/memory/extra.bin"
	cp "$BATS_TEST_TMPDIR/memory/extra.bin" "$BATS_TEST_TMPDIR/copy"
	wl_mount "$BATS_TEST_TMPDIR/memory" "$MNT"
	extra=$MNT/extra.bin
	exec {first}<"$extra" {second}<"$extra"
	exec {first}<&-
	cmp "$extra" "$BATS_TEST_TMPDIR/copy"
	exec {first}<"$extra"
	assert_equal "$(jq .shards.registrations "$MNT/.wload/stats.json")" 1
	rm "$BATS_TEST_TMPDIR/memory/extra.bin"
	exec {second}<&-
	cmp - "$BATS_TEST_TMPDIR/copy" <&"$first"
	assert [ "$(used_blocks "$BATS_TEST_TMPDIR/memory")" -gt "$before" ]
	exec {first}<&-
	# shellcheck disable=SC2016 # a condition, evaluated there
	wait_until '[ "$(used_blocks "$BATS_TEST_TMPDIR/memory")" = "$before" ]'
	assert_equal "$(stats_field served_bytes)" 0
	wl_umount "$MNT"
}
