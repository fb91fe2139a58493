#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# wload on mounts where something is in the way: shards that change, mounts that may not be consumed
# from, others who consume too, disks and memory that are too small. What can't be done is refused
# before anything is consumed, and what is reported is what happened.

# shellcheck disable=SC2154,SC2016 # run sets stderr; quoted conditions
load helper

setup() {
	require fuse
	wl_paths
	OUT=$BATS_TEST_TMPDIR/out
}

teardown() {
	[ -z "${LOADER-}" ] || kill -KILL "$LOADER" 2>/dev/null || true
	wl_cleanup
	[ -z "${CGROUP-}" ] || rmdir "$CGROUP" || true
	umount "$BATS_TEST_TMPDIR/small" 2>/dev/null || true
}

# assert_refused REGEX ARGS…: the load fails so, with nothing consumed.
assert_refused() {
	local want=$1
	shift
	run --separate-stderr -1 "$WLOAD" "$MNT" --quiet "$@"
	assert_equal "${#stderr_lines[@]}" 1
	assert_regex "$stderr" "$want"
	assert_equal "$(stats_field consumed_tensors)" 0
}

# ---- shards that change ----------------------------------------------------------------------

@test "load: a shard that was changed in place after mounting is refused" {
	mount_tiny
	printf X | dd of="$CKPT/model.safetensors" bs=1 seek=60000 conv=notrunc status=none
	assert_refused "shard 'model.safetensors' changed since" --device host
	wl_umount "$MNT"
}

@test "load: a shard that was changed in place, and then moved away, is refused by the mount" {
	mount_tiny
	printf X | dd of="$CKPT/model.safetensors" bs=1 seek=60000 conv=notrunc status=none
	mv "$CKPT" "$CKPT.away"
	assert_refused "changed since" --device host
	wl_umount "$MNT"
}

@test "load: a shard that was replaced is loaded as it was mounted" {
	mount_tiny
	cp -a "$CKPT" "$CKPT.was"
	cp "$CKPT/model.safetensors" "$CKPT/new"
	printf X | dd of="$CKPT/new" bs=1 seek=60000 conv=notrunc status=none
	mv "$CKPT/new" "$CKPT/model.safetensors"
	load_json --device host --verify --out "$OUT"
	run -0 python3 "$WL_ROOT/tests/oracles/plan_oracle.py" "$CKPT.was" "$OUT"
	assert_equal "$(field consumed_tensors)" 30
	wl_umount "$MNT"
}

# ---- who may consume -------------------------------------------------------------------------

@test "load: a read-only mount is refused with a hint, and loaded without consuming" {
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT" "$MNT" -o ro
	assert_refused 'Read-only file system; it can be loaded with --no-consume$' --device host
	load_json --device host --no-consume --verify
	assert_equal "$(field consumed_tensors)" 0
	wl_umount "$MNT"
}

@test "load: another user's mount is refused with a hint" {
	require root
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT" "$MNT" -o allow_other
	chmod -R a+rX "$CKPT"
	chmod a+x "$BATS_RUN_TMPDIR" "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR"/..
	run --separate-stderr -1 setpriv --reuid=65534 --regid=65534 --clear-groups \
		"$WLOAD" "$MNT" --device host --quiet
	assert_regex "$stderr" 'Permission denied; it can be loaded with --no-consume$'
	assert_equal "$(stats_field consumed_tensors)" 0
	wl_umount "$MNT"
}

# ---- others who consume ----------------------------------------------------------------------

@test "load: what was consumed before is not counted as its own" {
	make_tiny tiny-llama "$CKPT"
	sed -i 's/"tie_word_embeddings": false/"tie_word_embeddings": true/' "$CKPT/config.json"
	wl_mount "$CKPT" "$MNT"
	run -0 "$WLOAD" consume "$MNT" --key lm_head.weight
	before=$(stats_field consumed_bytes)
	load_json --device host
	assert_equal "$(field consumed_tensors)" 29
	assert_equal "$(field consumed_bytes)" $(($(stats_field consumed_bytes) - before))
	wl_umount "$MNT"
}

# mount_slow TENSORS BYTES: a checkpoint of holes, of so many tensors, each of so many bytes.
mount_slow() {
	local i

	for i in $(seq -w "$1"); do echo "t$i U8 $2"; done | make_tensors "$CKPT" --sparse
	wl_mount "$CKPT" "$MNT"
}

# Are all threads of a process stopped?
is_stopped() { ! grep -h '^State:' "/proc/$1"/task/*/status | grep -qv '^State:[[:space:]]T'; }

# start_load CONDITION ARGS…: a load that is stopped midway, once the condition holds: $LOADER.
start_load() {
	local condition=$1
	shift
	"$WLOAD" "$MNT" --quiet --json --threads 1 --staging 128K "$@" \
		>"$REPORT" 2>"$BATS_TEST_TMPDIR/stderr" 3>&- &
	LOADER=$!
	wait_until "$condition"
	kill -STOP "$LOADER"
	wait_until "is_stopped $LOADER"
	control $'prefix nothing\n' >/dev/null # done behind what the load had told before it stopped
}

# end_load STATUS: it goes on, and ends so.
end_load() {
	local rc=0

	kill -CONT "$LOADER"
	wait "$LOADER" || rc=$?
	LOADER=''
	assert_equal "$rc" "$1"
}

consumed_some() { [ "$(stats_field consumed_tensors)" -ge 1 ]; }

@test "load: what others consume meanwhile is loaded all the same, and not counted as its own" {
	mount_slow 64 67108864
	start_load consumed_some --device null
	run -0 "$WLOAD" consume "$MNT" --all
	others=${output%% *}
	end_load 0
	assert [ "$others" -gt 0 ]
	assert_equal "$(($(field consumed_tensors) + others))" 64
	assert_equal "$(field consumed_bytes)" $(($(field consumed_tensors) * 67108864))
	assert_equal "$(field bytes_read)" "$(stats_field bytes)"
	wl_umount "$MNT"
}

@test "load: a shard that is touched meanwhile is noticed before more is consumed" {
	mount_slow 64 67108864
	start_load consumed_some --device null
	before=$(stats_field consumed_tensors)
	touch "$CKPT/model.safetensors"
	end_load 1
	run -0 cat "$BATS_TEST_TMPDIR/stderr"
	assert_output --partial 'changed since it was opened'
	assert_equal "$(stats_field consumed_tensors)" "$before"
	wl_umount "$MNT"
}

# ---- --out -----------------------------------------------------------------------------------

@test "load: --out on a full disk is refused before anything is consumed" {
	require root
	mount_tiny
	mkdir "$BATS_TEST_TMPDIR/small"
	pages=$(($(stat -c %s "$CKPT/model.safetensors") / 4096))
	refused=0
	for pages in $(seq $((pages - 2)) $((pages + 4))); do
		mount -t tmpfs -o "size=$((pages * 4096))" small "$BATS_TEST_TMPDIR/small"
		run "$WLOAD" "$MNT" --device host --quiet --out "$BATS_TEST_TMPDIR/small"
		[ "$status" = 0 ] && break
		assert_output --partial 'No space left on device'
		assert_equal "$(stats_field consumed_tensors)" 0
		assert_equal "$(ls -A "$BATS_TEST_TMPDIR/small")" ''
		umount "$BATS_TEST_TMPDIR/small"
		refused=$((refused + 1))
	done
	assert_equal "$status" 0
	assert [ "$refused" -gt 1 ]
	assert_exists "$BATS_TEST_TMPDIR/small/config.json"
	wl_umount "$MNT"
}

@test "load: --out says of an interrupted load's file that it is one, before anything is consumed" {
	mount_tiny
	mkdir "$OUT"
	touch "$OUT/.config.json.partial"
	assert_refused "\.config\.json\.partial' was left by an interrupted load, remove it$" \
		--device host --out "$OUT"
	run -0 ls -A "$OUT"
	assert_output .config.json.partial
	wl_umount "$MNT"
}

@test "load: --out whose files can't get their names does not consume the rest" {
	# the output head of a tied model is needed by nothing, so it is always consumed last
	{
		for i in $(seq 8); do echo "t$i U8 33554432"; done
		echo 'model.embed_tokens.weight U8 64,64'
		echo 'lm_head.weight U8 64,64'
	} | make_tensors "$CKPT" --sparse
	echo '{"model_type": "llama", "tie_word_embeddings": true}' >"$CKPT/config.json"
	wl_mount "$CKPT" "$MNT"
	start_load '[ -e "$OUT/.model.safetensors.partial" ]' --device host --out "$OUT"
	touch "$OUT/model.safetensors"
	end_load 1
	assert_exists "$MNT/tensors/lm_head.weight"
	run -0 ls -A "$OUT"
	assert_output model.safetensors
	wl_umount "$MNT"
}

# ---- what it is made of ----------------------------------------------------------------------

@test "ls, plan, load: a mount of one file, whatever its name" {
	make_tiny tiny-llama "$CKPT"
	for name in consolidated.safetensors weights.bin; do
		mkdir "$CKPT.one"
		cp "$CKPT/model.safetensors" "$CKPT.one/$name"
		wl_mount "$CKPT.one/$name" "$MNT"
		diff <("$WLOAD" ls "$MNT") <("$WLOAD" ls "$CKPT")
		run -0 "$WLOAD" plan "$MNT"
		load_json --device host
		assert_equal "$(field consumed_tensors)" 30
		wl_umount "$MNT"
		rm -r "$CKPT.one"
	done
}

@test "load: --verify reads the tensors' own files" {
	mount_tiny
	before=$(stats_field served_bytes)
	load_json --device host --verify --no-consume
	assert [ "$(($(stats_field served_bytes) - before))" -ge "$(field bytes_verified)" ]
	wl_umount "$MNT"
}

# ---- memory ----------------------------------------------------------------------------------

# Forgets the shard's pages.
drop_cache() { dd of="$CKPT/model.safetensors" oflag=nocache conv=notrunc,fdatasync count=0 status=none; }

@test "load: peak_host_bytes counts the page cache that the load filled" {
	require disk
	echo 'a U8 67108864' | make_tensors "$CKPT"
	wl_mount "$CKPT" "$MNT"
	drop_cache
	load_json --device null --no-consume --io buffered
	assert [ "$(field peak_host_bytes)" -ge "$(field bytes_read)" ]
	wl_umount "$MNT"
}

@test "load: peak_host_bytes counts the daemon" {
	mount_tiny
	cat "$CKPT/model.safetensors" >/dev/null
	load_json --device null --no-consume --io buffered
	daemon=$(awk '/^RssFile|^RssAnon/ { kib += $2 } END { print kib * 1024 }' \
		"/proc/${WL_PIDS[$MNT]}/status")
	assert [ "$(field peak_host_bytes)" -ge "$((daemon * 9 / 10))" ]
	wl_umount "$MNT"
}

@test "load: what does not fit a cgroup is refused before anything is consumed" {
	require cgroup
	echo 'a U8 100663296' | make_tensors "$CKPT" --sparse
	wl_mount "$CKPT" "$MNT"
	for spare in -50 1 12; do # MiB, less and more than the parameters
		run --separate-stderr -1 limited $(((96 + spare) << 20)) \
			"$WLOAD" "$MNT" --device host --quiet
		assert_regex "$stderr" "the parameters take 100663296 bytes at once"
		assert_equal "$(stats_field consumed_tensors)" 0
	done
	run -0 limited $((160 << 20)) "$WLOAD" "$MNT" --device host --quiet --json
	assert_equal "$(stats_field consumed_tensors)" 1
	wl_umount "$MNT"
}

# Bytes of DTYPE U8 in one tensor, far more than the cgroup may have.
@test "load: released, a tensor larger than the memory goes through it" {
	local field=memory.max_usage_in_bytes

	require cgroup
	printf '%s\n' 'a U8 2147483649' 'b BF16 1000,1000' 'c U8 700000001' 'd F32' |
		make_tensors "$CKPT" --sparse
	wl_mount "$CKPT" "$MNT"
	run -0 limited $((128 << 20)) "$WLOAD" "$MNT" --device host --release --quiet --json
	assert_equal "$(stats_field consumed_tensors)" 4
	assert [ "$(jq .peak_host_bytes <<<"$output")" -le $((96 << 20)) ]
	assert_equal "$(jq .bytes_uploaded <<<"$output")" 2849483654
	[ -e "$CGROUP/$field" ] || field=memory.peak
	[ ! -e "$CGROUP/$field" ] || assert [ "$(cat "$CGROUP/$field")" -le $((112 << 20)) ]
	assert_equal "$(limit_hits)" 0
	wl_umount "$MNT"
}

# Who looks at a whole parameter needs the memory for it.
@test "load: released, what is compared has to fit as a whole" {
	require cgroup
	echo 'a U8 100663296' | make_tensors "$CKPT" --sparse
	wl_mount "$CKPT" "$MNT"
	run --separate-stderr -1 limited $((64 << 20)) \
		"$WLOAD" "$MNT" --device host --release --verify --quiet
	assert_regex "$stderr" "the parameters take 100663296 bytes at once"
	assert_equal "$(stats_field consumed_tensors)" 0
	wl_umount "$MNT"
}

# ---- devices ---------------------------------------------------------------------------------

# driver_failing_with CODE: a driver with one GPU, whose context can't be had, in $DRIVER.
driver_failing_with() {
	DRIVER=$BATS_TEST_TMPDIR/driver-$1
	mkdir "$DRIVER"
	cc -shared -fPIC -DCODE="$1" -o "$DRIVER/libcuda.so.1" -x c - <<-'END'
		#include <string.h>
		int cuInit(unsigned f) { (void)f; return 0; }
		int cuDeviceGetCount(int *n) { *n = 1; return 0; }
		int cuDeviceGet(int *d, int n) { *d = n; return 0; }
		int cuDeviceGetName(char *s, int n, int d) { (void)d; return strncpy(s, "X", n), 0; }
		int cuDeviceGetPCIBusId(char *s, int n, int d) { (void)s, (void)n, (void)d; return 1; }
		int cuDevicePrimaryCtxRetain(void **c, int d) { (void)c, (void)d; return CODE; }
		int cuCtxPushCurrent_v2(void *c) { (void)c; return 1; }
		int cuCtxPopCurrent_v2(void **c) { (void)c; return 1; }
		int cuGetErrorString(int e, const char **s) { *s = "out of memory"; return e != 2; }
		int cuGetErrorName(int e, const char **s) { *s = "CUDA_ERROR_OUT_OF_MEMORY"; return e != 2; }
	END
}

@test "load: what a driver refuses is told in its words, or by its number" {
	mount_tiny
	driver_failing_with 2
	LD_LIBRARY_PATH=$DRIVER run --separate-stderr -1 "$WLOAD" "$MNT" --quiet --device cuda
	[[ $stderr != *"this build has no CUDA"* ]] || skip "a build without CUDA"
	assert_equal "$stderr" "wload: device 'cuda:0': cuDevicePrimaryCtxRetain: out of memory \
(CUDA_ERROR_OUT_OF_MEMORY)"
	driver_failing_with 4711
	LD_LIBRARY_PATH=$DRIVER run --separate-stderr -1 "$WLOAD" "$MNT" --quiet --device cuda
	assert_equal "$stderr" "wload: device 'cuda:0': cuDevicePrimaryCtxRetain: unknown error 4711"
	assert_equal "$(stats_field consumed_tensors)" 0
	wl_umount "$MNT"
}
