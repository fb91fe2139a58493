#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# A load of any size runs in a fixed, small amount of host memory: daemon, loader and the page cache
# that both fill, together in one memory cgroup. Checkpoints are sparse: true to size, and no disk is
# measured. WL_FLAT_FULL=1 loads all of DeepSeek-R1-FP4 into host memory, too: minutes.

load helper

LIMIT_BYTES=$((512 << 20))
PEAK_MAX=$((256 << 20))

setup_file() {
	export BATS_TEST_TIMEOUT=$((${WL_FLAT_FULL:-0} ? 1800 : 240))
}

setup() {
	require fuse disk
	[ "${BUILD:-release}" = release ] || skip "a build of $BUILD takes more for itself"
	require cgroup
	wl_paths
}

teardown() {
	wl_cleanup
	[ -z "${CGROUP-}" ] || rmdir "$CGROUP" || true
}

sparse() {
	"$MAKE_CHECKPOINT" --quiet --sparse "$@" "$CKPT"
	sync "$CKPT"/*
	vmtouch -qe "$CKPT" >/dev/null
}

# peak_of_load OPTIONS…: of a fresh mount, all of it; $PEAK is what the two took.
peak_of_load() {
	"$WLOAD" --version >/dev/null # its own pages are nobody's here
	limited "$LIMIT_BYTES" "$WLOADFS" "$CKPT" "$MNT"
	forget_peak
	limited "$LIMIT_BYTES" "$WLOAD" load "$MNT" --quiet --json "$@" >"$REPORT"
	PEAK=$(peak_bytes)
	echo "$*: $PEAK bytes at most, $(field consumed_tensors) tensors, $(field seconds) s"
	assert_equal "$(field consumed_tensors)" "$(stats_field tensors)"
	assert [ "$PEAK" -le "$PEAK_MAX" ]
	assert_equal "$(limit_hits)" 0
	assert_equal "$(stats_field resident_bytes) $(stats_field held_bytes)" '0 0'
	fincore -n -o PAGES "$CKPT"/*.safetensors* >"$BATS_TEST_TMPDIR/pages"
	assert_equal "$(awk '{ n += $1 } END { print n }' "$BATS_TEST_TMPDIR/pages")" 0
	fusermount3 -u "$MNT"
	# shellcheck disable=SC2016 # a condition, evaluated there
	wait_until '[ -z "$(cat "$CGROUP/cgroup.procs")" ]'
}

@test "flat: 424 GB and 180,364 tensors go through 256 MiB" {
	sparse --family deepseek-r1-fp4 --max-shard-size 5GiB
	peak_of_load --device null
	assert_equal "$(field bytes_read)" 423605060024
	[ "${WL_FLAT_FULL:-0}" = 0 ] || peak_of_load --device host --release
}

# To nowhere, for what is in memory is exact there. 256 bytes are allowed for each tensor: its name
# and place in both processes, and its parameter.
@test "flat: what a load takes follows from its tensors' number, not from their bytes" {
	local layer name more tensors

	for name in layer layers llama; do
		rm -rf "$CKPT"
		case $name in
		layer) sparse --family deepseek-r1-fp4 --layers 1 --set first_k_dense_replace=0 \
			--set num_nextn_predict_layers=0 ;;
		layers) sparse --family deepseek-r1-fp4 --layers 8 ;;
		llama) sparse --family llama-3.1-70b ;;
		esac
		peak_of_load --device null
		tensors=${tensors:-$(field consumed_tensors)} layer=${layer:-$PEAK}
		more=$(($(field consumed_tensors) - tensors))
		[ "$more" -gt 0 ] || more=0
		assert [ "$PEAK" -le $((layer * 11 / 10 + 256 * more)) ]
	done
}

@test "flat: into host memory that is released at once" {
	sparse --family deepseek-r1-fp4 --layers 1 --set first_k_dense_replace=0 \
		--set num_nextn_predict_layers=0
	peak_of_load --device host --release
}
