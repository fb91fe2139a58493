#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# How wload reads: cached bytes from the page cache, others from the disk past it, whatever the
# filesystem lacks. vmtouch, which is not ours, says what was left behind.

# shellcheck disable=SC2154 # run sets stderr
load helper

setup() {
	wl_paths
	OUT=$BATS_TEST_TMPDIR/out
}

teardown() {
	wl_cleanup
	umount "$BATS_TEST_TMPDIR/ram" 2>/dev/null || true
}

# make_large [FOLDER]: 200 MB in two shards, with 5000 scalars between.
make_large() {
	local i

	{
		for i in 0 1 2 3 4 5; do echo "model.layers.$i.mlp.up_proj.weight BF16 4096,4099"; done
		for ((i = 0; i < 5000; i++)); do echo "scale.$i F32"; done
	} | "$MAKE_CHECKPOINT" --tensors - --max-shard-size 120MB --quiet "${1:-$CKPT}"
	sync "${1:-$CKPT}"/*
}

# Pages of the shards that are cached.
cached_pages() {
	vmtouch "$CKPT"/*.safetensors | awk '/Resident Pages/ { print int($3) }'
}

evict_all() {
	vmtouch -qe "$CKPT"/*.safetensors
	assert_equal "$(cached_pages)" 0
}

# load_plain FOLDER ARGS…: as load_json, of a folder.
load_plain() { "$WLOAD" load "$1" --quiet --json "${@:2}" >"$REPORT"; }

require_disk() {
	probe_disk || skip 'the temporary folder is on tmpfs, which has no disk'
}

@test "io: an uncached checkpoint is read past the page cache and leaves nothing there" {
	require_disk
	make_large
	evict_all
	load_plain "$CKPT" --device null
	assert_equal "$(field bytes_direct)" "$(field bytes_read)"
	assert_equal "$(cached_pages)" 0
	[ "$(field peak_host_bytes)" -le 134217728 ] || fail "peak $(field peak_host_bytes)"
}

@test "io: the same bytes whichever way they come" {
	require_disk
	make_large
	evict_all
	load_plain "$CKPT" --device host --out "$OUT.direct"
	assert_equal "$(field bytes_direct)" "$(field bytes_read)"
	load_plain "$CKPT" --device host --io buffered --out "$OUT.buffered"
	assert_equal "$(field bytes_direct)" 0
	load_plain "$CKPT" --device host --io direct --out "$OUT.again"
	assert_equal "$(field bytes_direct)" "$(field bytes_read)"
	run -0 cmp "$OUT.direct/model.safetensors" "$OUT.buffered/model.safetensors"
	run -0 cmp "$OUT.direct/model.safetensors" "$OUT.again/model.safetensors"
	run -0 "$CHECK_STAMPS" "$OUT.direct"
}

@test "io: a cached checkpoint is read from the page cache" {
	require_disk
	make_large
	vmtouch -qt "$CKPT"/*.safetensors
	load_plain "$CKPT" --device host --verify
	assert_equal "$(field bytes_direct)" 0
	assert_equal "$(field bytes_verified)" "$(field bytes_read)"
}

@test "io: of a half cached checkpoint each part comes from where it is" {
	local before

	require_disk
	make_large
	evict_all
	head -c 60000000 "$CKPT/model-00001-of-00002.safetensors" >/dev/null
	before=$(cached_pages)
	load_plain "$CKPT" --device null
	[ "$(field bytes_direct)" -gt 100000000 ] || fail "$(field bytes_direct) bytes directly"
	[ "$(field bytes_direct)" -lt $(($(field bytes_read) - 50000000)) ] ||
		fail "$(field bytes_direct) bytes directly"
	# Where an earlier reader's read-ahead left off, the kernel goes on with it.
	[ "$(cached_pages)" -le $((before + 16384)) ] ||
		fail "$(cached_pages) pages are cached, $before were"
}

@test "io: through a mount, an uncached checkpoint comes from the disk and is consumed" {
	require fuse
	require_disk
	make_large
	wl_mount "$CKPT" "$MNT"
	evict_all
	load_json --device host --verify
	assert_equal "$(field bytes_direct)" "$(field bytes_read)"
	assert_equal "$(field consumed_bytes)" "$(field bytes_read)"
	assert_equal "$(cached_pages)" 0
	wl_umount "$MNT"
}

@test "io: a filesystem without O_DIRECT is read through the page cache" {
	require root
	mkdir "$BATS_TEST_TMPDIR/ram"
	mount -t ramfs none "$BATS_TEST_TMPDIR/ram"
	make_large "$BATS_TEST_TMPDIR/ram/ckpt"
	load_plain "$BATS_TEST_TMPDIR/ram/ckpt" --device host --verify
	assert_equal "$(field bytes_direct)" 0
	assert_equal "$(field bytes_verified)" "$(field bytes_read)"
	run --separate-stderr -1 "$WLOAD" "$BATS_TEST_TMPDIR/ram/ckpt" --quiet --device null --io direct
	assert_equal "${#stderr_lines[@]}" 1
	assert_regex "$stderr" "shard '.*model-00001-of-00002.safetensors' can't be read past the page cache"
}

@test "io: one who may not ask what is cached loads as well" {
	require root
	require_disk
	make_large
	evict_all
	chmod -R a+rX "$BATS_TEST_TMPDIR" "$BATS_RUN_TMPDIR"
	run -0 setpriv --reuid=65534 --regid=65534 --clear-groups "$WLOAD" "$CKPT" --device host \
		--verify --json --quiet
	assert_equal "$(jq -r .bytes_verified <<<"$output")" "$(jq -r .bytes_read <<<"$output")"
	[ "$(jq -r .bytes_direct <<<"$output")" -gt 150000000 ] || fail "$output"
}

@test "io: asking what is cached leaves nothing that the next load would take for all" {
	local i

	require root
	require_disk
	make_large
	evict_all
	chmod -R a+rX "$BATS_TEST_TMPDIR" "$BATS_RUN_TMPDIR"
	for i in 1 2 3; do
		run -0 setpriv --reuid=65534 --regid=65534 --clear-groups "$WLOAD" "$CKPT" \
			--device null --json --quiet
		[ "$(jq -r .bytes_direct <<<"$output")" -gt 190000000 ] || fail "load $i: $output"
		[ "$(cached_pages)" -le 16 ] || fail "load $i left $(cached_pages) pages"
	done
}

@test "io: what is compared is not left in the page cache either" {
	require_disk
	make_large
	evict_all
	load_plain "$CKPT" --device host --release --verify
	assert_equal "$(field bytes_verified)" "$(field bytes_read)"
	[ "$(cached_pages)" -le 256 ] || fail "$(cached_pages) pages are cached"
}

@test "io: small staging and many readers give the same bytes" {
	local staging

	require_disk
	make_large
	for staging in 128K 300K 1M 200M; do
		evict_all
		load_plain "$CKPT" --device host --staging "$staging" --threads 7 --verify
		[ "$(field bytes_direct)" -ge $(($(field bytes_read) * 9 / 10)) ] ||
			fail "$(field bytes_direct) bytes directly"
		assert_equal "$(field bytes_verified)" "$(field bytes_read)"
	done
}

@test "io: an unknown way is refused" {
	run --separate-stderr -2 "$WLOAD" "$BATS_TEST_TMPDIR" --io fast
	assert_regex "$stderr" "--io: 'fast' is none of auto|buffered|direct"
}
