#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# When unlink returns, the host pages that nobody else needs are gone: the witnesses are mincore and
# vmtouch on the shard. And removers side by side always end.

load helper

setup() {
	require fuse disk
	wl_paths
	T=$MNT/tensors
	SHARD=$CKPT/model.safetensors
}

teardown() {
	wl_cleanup
}

# A checkpoint whose pages are clean, so that they can be dropped.
mount_clean() {
	sync "$CKPT"/*
	wl_mount "$CKPT" "$MNT"
}

# How many pages of the shard in [begin, end) of bytes are cached; only those wholly inside.
resident_inside() {
	local begin=$((($1 + 4095) / 4096 * 4096)) end=$(($2 / 4096 * 4096))
	[ "$begin" -lt "$end" ] || { echo 0; return; }
	"$PROBE" resident "$SHARD" "$begin" $((end - begin))
}

# The same for a tensor.
resident_pages() {
	local offset bytes
	offset=$(index_field "$1" offset) bytes=$(index_field "$1" bytes)
	resident_inside "$offset" $((offset + bytes))
}

header_pages() {
	local length
	length=$(od -An -tu8 -N8 "$SHARD")
	echo $(((length + 8 + 4095) / 4096))
}

@test "evict: a tensor that was read is out of the page cache when rm returns" {
	make_tiny tiny-llama "$CKPT"
	mount_clean
	cat "$T/model.embed_tokens.weight" >/dev/null
	run -0 resident_pages model.embed_tokens.weight
	assert_output --regexp '^2[0-9][0-9]$'
	rm "$T/model.embed_tokens.weight"
	run -0 resident_pages model.embed_tokens.weight
	assert_output 0
	wl_umount "$MNT"
}

@test "evict: live neighbours lose no page" {
	make_tiny tiny-llama "$CKPT"
	mount_clean
	cat "$T"/* >/dev/null
	before=$(resident_pages model.layers.1.mlp.up_proj.weight)
	rm "$T/model.layers.1.mlp.gate_proj.weight" "$T/model.layers.1.post_attention_layernorm.weight"
	assert_equal "$(resident_pages model.layers.1.mlp.up_proj.weight)" "$before"
	assert_equal "$(resident_pages model.layers.1.mlp.gate_proj.weight)" 0
	wl_umount "$MNT"
}

@test "evict: pages that the shard's own read-ahead built are dropped too" {
	make_tiny tiny-llama "$CKPT"
	mount_clean
	cat "$SHARD" >/dev/null
	rm "$T/model.layers.1.mlp.gate_proj.weight"
	assert_equal "$(resident_pages model.layers.1.mlp.gate_proj.weight)" 0
	wl_umount "$MNT"
}

@test "evict: tensors consumed one by one, in any order, leave nothing" {
	seed=${SEED:-$RANDOM}
	echo "SEED=$seed"
	make_tensors "$CKPT" < <(for i in {1..60}; do echo "t.$i U8 $((700000 + i))"; done)
	mount_clean
	cat "$SHARD" >/dev/null
	for i in $(seq 60 | shuf --random-source=<(yes "$seed")); do
		rm "$T/t.$i"
	done
	resident=$("$PROBE" resident "$SHARD")
	[ "$resident" -le "$(header_pages)" ] || fail "$resident pages are left"
	wl_umount "$MNT"
}

@test "evict: small tensors go with the last neighbour on their page" {
	make_tensors "$CKPT" < <(for i in {1..3000}; do echo "s.$i.weight_scale_2 F32"; done)
	mount_clean
	cat "$SHARD" >/dev/null
	control 'all\n'
	resident=$("$PROBE" resident "$SHARD")
	[ "$resident" -le "$(header_pages)" ] || fail "$resident pages are left"
	wl_umount "$MNT"
}

@test "evict: vmtouch sees the shard leave the page cache as it is consumed" {
	make_tiny tiny-llama "$CKPT"
	mount_clean
	cat "$T"/* >/dev/null
	run -0 vmtouch "$SHARD"
	assert_output --partial '100%'
	rm -r "$MNT"/modules/*
	resident=$(vmtouch "$SHARD" | awk '/Resident Pages/ { print int($3) }')
	[ "$resident" -le "$(header_pages)" ] || fail "$resident pages are left"
	wl_umount "$MNT"
}

@test "evict: a whole prefix by the control file leaves nothing" {
	make_tiny tiny-llama "$CKPT"
	mount_clean
	cat "$SHARD" >/dev/null
	control 'prefix model.layers.1\n'
	for name in mlp.up_proj mlp.down_proj self_attn.q_proj; do
		assert_equal "$(resident_pages "model.layers.1.$name.weight")" 0
	done
	wl_umount "$MNT"
}

@test "evict: a descriptor held over the removal reads, and leaves nothing cached" {
	make_tiny tiny-llama "$CKPT"
	mount_clean
	exec {held}<"$T/model.embed_tokens.weight"
	rm "$T/model.embed_tokens.weight"
	run -0 "$PROBE" stamps - model.embed_tokens.weight <&"$held"
	assert_output 1051136
	exec {held}<&-
	# shellcheck disable=SC2016 # a condition, evaluated there
	wait_until '[ "$(resident_pages model.embed_tokens.weight)" = 0 ]'
	wl_umount "$MNT"
}

@test "evict: mounting leaves no more than the headers in the page cache" {
	make_tiny tiny-llama "$CKPT"
	sync "$SHARD"
	dd if="$SHARD" iflag=nocache count=0 status=none
	wl_mount "$CKPT" "$MNT"
	resident=$("$PROBE" resident "$SHARD")
	[ "$resident" -le "$(header_pages)" ] || fail "$resident pages are cached by mounting"
	wl_umount "$MNT"
}

@test "evict: on tmpfs a removal succeeds all the same" {
	require root
	mkdir "$BATS_TEST_TMPDIR/tmpfs"
	mount -t tmpfs -o size=64M tmpfs "$BATS_TEST_TMPDIR/tmpfs"
	make_tiny tiny-llama "$BATS_TEST_TMPDIR/tmpfs/ckpt"
	wl_mount "$BATS_TEST_TMPDIR/tmpfs/ckpt" "$MNT"
	cat "$T"/* >/dev/null
	rm "$T"/*
	assert_equal "$(count_files "$T")" 0
	wl_umount "$MNT"
	umount "$BATS_TEST_TMPDIR/tmpfs"
}

@test "removers: find tensors -delete and rm -r modules side by side end" {
	make_tensors "$CKPT" < <(for i in {1..3000}; do echo "m.$((i % 37)).e.$i.w U8 96"; done)
	mount_clean
	for _ in 1 2 3; do
		timeout "$WL_DEADLINE" find "$T" -type f -delete 2>/dev/null 3>&- &
		a=$!
		timeout "$WL_DEADLINE" rm -rf "$MNT"/modules/m 2>/dev/null 3>&- &
		b=$!
		wait "$a" && rc=0 || rc=$?
		assert_not_equal "$rc" 124
		wait "$b" && rc=0 || rc=$?
		assert_not_equal "$rc" 124
		rm -rf "$MNT/modules/m"
		assert_equal "$(count_files "$T") $(count_files "$MNT/modules")" '0 0'
		assert_equal "$(stats_field consumed_tensors)" 3000
		run -0 control 'restore\n'
		assert_output 3000
	done
	wl_umount "$MNT"
}

@test "removers: with readers beside them, and one worker" {
	make_tiny tiny-llama "$CKPT"
	sync "$SHARD"
	wl_mount "$CKPT" "$MNT" -s
	for _ in 1 2 3; do
		pids=()
		for _ in 1 2; do
			timeout "$WL_DEADLINE" cat "$T"/* >/dev/null 2>&1 3>&- &
			pids+=($!)
		done
		timeout "$WL_DEADLINE" find "$T" -type f -delete 2>/dev/null 3>&- &
		pids+=($!)
		timeout "$WL_DEADLINE" rm -rf "$MNT"/modules/model 2>/dev/null 3>&- &
		pids+=($!)
		for pid in "${pids[@]}"; do
			wait "$pid" && rc=0 || rc=$?
			assert_not_equal "$rc" 124
		done
		control 'restore\n'
	done
	run -0 "$CHECK_STAMPS" "$T"
	assert_output '30 tensors, 6455808 bytes checked, 0 different'
	wl_umount "$MNT"
}
