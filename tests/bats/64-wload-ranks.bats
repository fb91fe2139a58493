#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# wload on a rank's folder of a mount (-o ranks=N): it is told from every other folder, its load
# drops its claims alone, and the last claim evicts.

load helper

setup() {
	require fuse
	wl_paths
}

teardown() {
	wl_cleanup
}

# refused LINE ARGS…: one line, exit 1, nothing consumed.
refused() {
	run --separate-stderr -1 "$WLOAD" "${@:2}"
	# shellcheck disable=SC2154 # run sets stderr
	assert_equal "$stderr" "wload: $1"
	assert_equal "$(stats_field consumed_tensors)" 0
}

shard_pages() { fincore -nb -o PAGES "$CKPT/model.safetensors" | tr -d ' '; }

# A checkpoint that is in the page cache, mounted for 8 consumers; PAGES is how much of it that is.
mount_ranks() {
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT" "$MNT" -o ranks=8
	cat "$CKPT/model.safetensors" >/dev/null
	PAGES=$(shard_pages)
	assert [ "$PAGES" -gt 1000 ]
}

# load_rank R [ARGS…]: what an engine's process of that rank does; its report in $REPORT.R.
load_rank() {
	"$WLOAD" load "$MNT/ranks/$1" --tp 8 --device host --quiet --json "${@:2}" >"$REPORT.$1"
}

claims_left() { jq -c '[.claims[].tensors]' "$MNT/.wload/stats.json"; }

inside() {
	echo "'$1' lies inside of the wloadfs mount at '$MNT'$2; name its root, or ranks/R of one with ranks"
}

@test "ranks: a mount without ranks has none, whatever the checkpoint's folders are called" {
	make_tiny tiny-llama "$CKPT"
	mkdir -p "$CKPT/ranks/0/.wload"
	echo '{"rank": 0}' >"$CKPT/ranks/0/.wload/stats.json"
	wl_mount "$CKPT" "$MNT"
	refused "$(inside "$MNT/ranks/0" ", and is no rank's folder")" consume "$MNT/ranks/0" --all
	refused "$(inside "$MNT/ranks" '')" load "$MNT/ranks" --device null --quiet
	refused "the mount at '$MNT' has no ranks (-o ranks=N)" release "$MNT" --rank 0
	wl_umount "$MNT"
}

@test "release: what is no mount, and a rank that is missing, are one line" {
	make_tiny tiny-llama "$CKPT"
	run -1 "$WLOAD" release "$CKPT" --rank 0
	assert_output "wload: '$CKPT' is not a wloadfs mount"
	run -2 "$WLOAD" release "$CKPT"
	assert_output 'wload: release: --rank R is missing'
	run -2 "$WLOAD" release "$CKPT" --rank -1
	assert_output "wload: --rank: '-1' is not a number from 0 to 4294967295"
}

@test "ranks: 8 loads one after another, evicted when the last has and not before" {
	local rank out=()

	mount_ranks
	for rank in 3 0 7 1 6 2 5 4; do
		assert_equal "$(shard_pages)" "$PAGES"
		load_rank "$rank" --verify --out "$BATS_TEST_TMPDIR/out.$rank"
		run -0 jq -c '[.rank, .tp, .claims, .consumed_tensors, .note]' "$REPORT.$rank"
		assert_output "[$rank,8,true,30,null]"
		assert_equal "$(count_files "$MNT/ranks/$rank/tensors")" 0
	done
	assert_equal "$(shard_pages)" 0
	assert_equal "$(stats_field consumed_tensors) $(claims_left)" '30 [0,0,0,0,0,0,0,0]'
	for rank in 0 1 2 3 4 5 6 7; do out+=("$BATS_TEST_TMPDIR/out.$rank"); done
	run -0 python3 "$WL_ROOT/tests/oracles/plan_oracle.py" --rebuild "$CKPT" "${out[@]}"
	wl_umount "$MNT"
}

@test "ranks: 8 loads two at a time, evicted when the last has and not before" {
	local first second one two

	mount_ranks
	for first in 6 0 4 2; do
		second=$((first + 1))
		assert_equal "$(shard_pages) $(stats_field consumed_tensors)" "$PAGES 0"
		load_rank "$first" --verify &
		one=$!
		load_rank "$second" --verify --release &
		two=$!
		wait "$one"
		wait "$two"
		assert_equal "$(jq -s -c 'map(.consumed_tensors)' "$REPORT.$first" "$REPORT.$second")" \
			'[30,30]'
	done
	assert_equal "$(shard_pages) $(stats_field consumed_tensors)" '0 30'
	wl_umount "$MNT"
}

@test "release: a rank that died in the middle holds what it had not consumed, and no more" {
	local rank

	mount_ranks
	run -0 "$WLOAD" consume "$MNT/ranks/5" model.layers.0
	assert_output '9 tensors consumed'
	for rank in 0 1 2 3 4 6 7; do load_rank "$rank"; done
	assert_equal "$(stats_field consumed_tensors) $(claims_left)" '9 [0,0,0,0,0,21,0,0]'
	assert [ "$(shard_pages)" -gt 0 ]
	assert [ "$(shard_pages)" -lt "$PAGES" ]
	run -0 "$WLOAD" release "$MNT" --rank 5
	assert_output '21 tensors released'
	assert_equal "$(shard_pages) $(stats_field consumed_tensors)" '0 30'
	run -0 "$WLOAD" release "$MNT" --rank 5
	assert_output '0 tensors released'
	wl_umount "$MNT"
}

@test "ranks: what is not this rank's is refused in a sentence, before anything is read" {
	local r3=$MNT/ranks/3

	mount_ranks
	refused "tp 4: '$r3' is the folder of one of 8 ranks" "$r3" --tp 4 --device null --quiet
	refused "rank 2: '$r3' is the folder of rank 3" "$r3" --tp 8 --rank 2 --device null --quiet
	refused "tp 16: '$r3' is the folder of one of 8 ranks" plan "$r3" --tp 16
	refused "rank 8: the mount at '$MNT' has ranks 0 to 7" release "$MNT" --rank 8
	refused "'$r3' is the folder of rank 3 of the mount at '$MNT'; name its root" \
		release "$r3" --rank 3
	refused "$(inside "$r3/tensors" '')" stats "$r3/tensors"
	refused "$(inside "$MNT/ranks" '')" consume "$MNT/ranks" --all
	assert_equal "$(claims_left)" '[30,30,30,30,30,30,30,30]'
	run -0 "$WLOAD" "$MNT" --tp 8 --rank 3 --device null
	assert_output --partial 'consumed  nothing: it is one rank of 8'
	wl_umount "$MNT"
}

@test "ranks: every command works on one as on a mount, and shows its view" {
	local r3=$MNT/ranks/3

	mount_ranks
	run -0 "$WLOAD" consume "$r3" --key model.norm.weight
	run -1 "$WLOAD" "$r3" --device null --quiet
	assert_output "wload: 1 of the tensors that are needed are consumed already, 'model.norm.weight' first; 'wload restore $r3' brings them back"
	run -0 bash -c "'$WLOAD' ls '$r3' --json | jq -r '.[] | select(.state == \"consumed\").name'"
	assert_output model.norm.weight
	run -0 bash -c "'$WLOAD' ls '$MNT' --json | jq -r '.[] | select(.state == \"consumed\").name'"
	assert_output ''
	run -0 bash -c "'$WLOAD' stats '$r3' --json | jq -c '[.rank, .ranks, .consumed_tensors]'"
	assert_output '[3,8,1]'
	run -0 "$WLOAD" restore "$r3"
	assert_output '1 tensor restored'
	run -0 bash -c "'$WLOAD' plan '$r3' --tp 8 --json | jq -c '[.tp, .rank]'"
	assert_output '[8,3]'
	run -0 "$WLOAD" "$r3" --device null
	assert_output --partial 'consumed  30 tensors, 6.46 MB, for one rank of the mount'
	assert_equal "$(stats_field consumed_tensors) $(claims_left)" '0 [30,30,30,0,30,30,30,30]'
	wl_umount "$MNT"
}

@test "ranks: claims on what a rank's parameters do not need are dropped too" {
	make_tiny tiny-llama "$CKPT"
	sed -i 's/"tie_word_embeddings": false/"tie_word_embeddings": true/' "$CKPT/config.json"
	wl_mount "$CKPT" "$MNT" -o ranks=8
	load_rank 3
	assert_equal "$(jq -c '[.unused, .consumed_tensors]' "$REPORT.3")" '[["lm_head.weight"],30]'
	assert_equal "$(claims_left)" '[30,30,30,0,30,30,30,30]'
	wl_umount "$MNT"
}

@test "ranks: a bind mount of a rank's folder is that rank, without the root in sight" {
	local own=$BATS_TEST_TMPDIR/own

	require root
	mount_ranks
	mkdir "$own"
	mount --bind "$MNT/ranks/6" "$own"
	run -0 "$WLOAD" "$own" --tp 8 --device null --json --quiet
	assert_equal "$(jq -c '[.rank, .claims, .consumed_tensors]' <<<"$output")" '[6,true,30]'
	umount "$own"
	assert_equal "$(claims_left)" '[30,30,30,30,30,30,0,30]'
	wl_umount "$MNT"
}

@test "ranks: comparing leaves no pages, also of tensors that the other ranks claim still" {
	require disk
	make_tensors "$CKPT" <<-'LINES'
		a.weight BF16 4096,4096
		b.weight BF16 4096,4096
		norm.weight BF16 4097
	LINES
	sync "$CKPT/model.safetensors"
	wl_mount "$CKPT" "$MNT" -o ranks=2
	dd if="$CKPT/model.safetensors" iflag=nocache count=0 status=none
	assert [ "$(shard_pages)" -lt 16 ]
	"$WLOAD" load "$MNT/ranks/0" --device host --quiet --json --verify >"$REPORT"
	assert_equal "$(field bytes_verified)" "$(field bytes_uploaded)"
	# the mount may have read one piece ahead of what was asked
	assert [ "$(shard_pages)" -lt 600 ]
	wl_umount "$MNT"
}
