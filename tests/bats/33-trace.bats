#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# -o trace: who opened, read and consumed what, and which tensors a load forgot or needed twice. The
# mistakes that users of consumable weights make are played here, and the trace names who made them.

load helper

setup() {
	require fuse
	wl_paths
	T=$MNT/tensors
	SHARD=$MNT/model.safetensors
}

teardown() {
	wl_cleanup
}

mount_traced() {
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT" "$MNT" -o trace "$@"
}

# events FILTER [JQ OPTIONS…]: the events that jq's filter selects, a line each.
events() {
	jq -c "${@:2}" "select(.event) | $1" "$MNT/.wload/trace"
}

# kind NAME: of that kind, how many tensors, and all their names.
kind_count() { jq -r ".trace.$1.tensors" "$MNT/.wload/stats.json"; }
kind_names() { jq -r ".$1[]" "$MNT/.wload/trace-summary.json"; }

# as_process COMMAND…: runs it in a process of its own, and sets PID to its number.
as_process() {
	"$@" >/dev/null 3>&- &
	PID=$!
	wait "$PID"
}

# read_range FILE OFFSET BYTES: exactly that, in one read().
read_range() {
	dd if="$1" bs="$3" skip="$2" count=1 iflag=skip_bytes status=none >/dev/null
}

@test "trace: without the option there is none" {
	mount_tiny
	run -0 ls "$MNT/.wload"
	refute_output --partial trace
	assert_not_exists "$MNT/.wload/trace"
	assert_equal "$(stats_field trace)" null
	wl_umount "$MNT"
	run -0 cat "${WL_LOGS[$MNT]}"
	assert_output ''
}

@test "trace: opens, reads and consumption are in order, with times and who it was" {
	mount_traced
	as_process cat "$T/model.norm.weight"
	reader=$PID
	as_process rm "$T/model.norm.weight"
	remover=$PID
	run -0 events '[.event, .tensor, .pid, .by, .bytes]'
	assert_output "[\"open\",\"model.norm.weight\",$reader,null,null]
[\"read\",\"model.norm.weight\",$reader,null,512]
[\"consume\",\"model.norm.weight\",$remover,\"unlink\",null]"
	run -0 jq -s '[.[] | select(.event) | .t] | . == sort and .[0] > 0 and .[0] < 60' \
		"$MNT/.wload/trace"
	assert_output true
	wl_umount "$MNT"
}

@test "trace: the first line says what is traced, and what is not seen" {
	mount_traced
	run -0 jq -rs '.[0] | .checkpoint, .shard_reads_seen, .unseen' "$MNT/.wload/trace"
	assert_output "$CKPT
true
reads of the checkpoint's files beside the mount"
	wl_umount "$MNT"
}

@test "trace: shards are served, so that reads of them are seen" {
	mount_traced
	assert_equal "$(jq -r .shards.mode "$MNT/.wload/stats.json")" served
	cat "$SHARD" >/dev/null
	run -0 events 'select(.event == "open") | .file'
	assert_output '"model.safetensors"'
	assert_equal "$(kind_count never_read)" 0
	assert_equal "$(kind_count read_not_consumed)" 30
	wl_umount "$MNT"
}

@test "trace: a read of a shard names the tensors that it touches" {
	make_tensors "$CKPT" <<<$'a U8 1000\nb U8 1000\nc U8 1000\nd U8 1000'
	wl_mount "$CKPT" "$MNT" -o trace
	at=$(index_field b offset)
	read_range "$SHARD" $((at + 999)) 2
	read_range "$SHARD" "$at" 1000
	read_range "$SHARD" 0 8
	run -0 events 'select(.event == "read") | [.bytes, .tensors, .first, .last]'
	assert_output '[2,2,"b","c"]
[1000,1,"b","b"]
[8,null,null,null]'
	run -0 kind_names read_not_consumed
	assert_output b
	run -0 kind_names partly_read
	assert_output c
	wl_umount "$MNT"
}

@test "trace: passthrough that was asked for stays, and the trace says what it misses" {
	require_passthrough
	mount_traced -o shards=passthrough
	cat "$SHARD" >/dev/null
	cat "$T/model.norm.weight" >/dev/null
	run -0 jq -rs '.[0] | .shard_reads_seen, .unseen' "$MNT/.wload/trace"
	assert_line 'false'
	assert_line --partial 'shards=passthrough'
	run -0 jq -c '.trace | [.shard_reads_seen, .never_read, .consumed_unread, .missing.tensors]' \
		"$MNT/.wload/stats.json"
	assert_output '[false,null,null,0]'
	assert_equal "$(jq -c .never_read "$MNT/.wload/trace-summary.json")" null
	wl_umount "$MNT"
	run -0 cat "${WL_LOGS[$MNT]}"
	assert_output --partial 'reads of shards were not seen'
	refute_output --partial 'never read'
}

# ---- mistakes ----

@test "trace: a second consumer of a consumed tensor finds who was first" {
	# Two layers share a weight, and both consume what they loaded.
	mount_traced
	shared=model.layers.0.mlp.up_proj.weight
	as_process bash -c "cat '$T/$shared' && rm '$T/$shared'"
	run ! cat "$T/$shared"
	run -0 events 'select(.event == "missing") | [.tensor, .consumed_by]'
	remover=$(events 'select(.event == "consume") | .pid')
	assert_output "[\"$shared\",$remover]"
	# When: what it says is the moment of that event.
	# shellcheck disable=SC2016 # jq's own variable
	run -0 jq -s '(.[] | select(.event == "consume").t) as $t | .[] |
		select(.event == "missing") | .t > .consumed_at and ($t - .consumed_at | fabs) < 0.1' \
		"$MNT/.wload/trace"
	assert_output true
	assert_equal "$(kind_names missing)" "$shared"
	assert_equal "$(kind_count consumed_unread)" 0
	wl_umount "$MNT"
}

@test "trace: every look-up of what is gone is seen, by any name" {
	mount_traced
	rm "$T/model.norm.weight"
	for _ in 1 2 3; do
		run ! cat "$T/model.norm.weight"
	done
	run ! cat "$MNT/modules/model/norm/weight"
	run ! cat "$MNT/npy/model.norm.weight.npy"
	run -0 events 'select(.event == "missing") | .tensor'
	assert_equal "${#lines[@]}" 5
	run ! cat "$T/no.such.tensor"
	run -0 events 'select(.event == "missing") | .tensor'
	assert_equal "${#lines[@]}" 5
	wl_umount "$MNT"
}

@test "trace: names that the kernel still knew are seen to be missing too" {
	mount_traced
	stat "$MNT/modules/model/norm/weight" "$T/model.norm.weight" >/dev/null
	control 'key model.norm.weight\n'
	run ! cat "$MNT/modules/model/norm/weight"
	run ! stat "$T/model.norm.weight"
	run -0 events 'select(.event == "missing") | .tensor'
	assert_equal "${#lines[@]}" 2
	wl_umount "$MNT"
}

@test "trace: a parent that consumes its children before they are loaded" {
	# A walk in pre-order: the layer reads its own norm and consumes all below it.
	mount_traced
	cat "$T/model.layers.0.input_layernorm.weight" >/dev/null
	as_process bash -c "printf 'prefix model.layers.0\n' >'$MNT/.wload/consume'"
	parent=$PID
	as_process dd if="$T/model.layers.0.mlp.up_proj.weight" of=/dev/null status=none || true
	child=$PID
	run -0 events 'select(.event == "consume") | [.by, .prefix, .tensors, .pid]'
	assert_output "[\"prefix\",\"model.layers.0\",9,$parent]"
	assert_equal "$(kind_count consumed_unread)" 8
	run -0 kind_names consumed_unread
	assert_line model.layers.0.mlp.up_proj.weight
	refute_line model.layers.0.input_layernorm.weight
	run -0 events 'select(.event == "missing") | [.tensor, .pid, .consumed_by]'
	assert_output "[\"model.layers.0.mlp.up_proj.weight\",$child,$parent]"
	wl_umount "$MNT"
}

@test "trace: a scalar that one consumes and another reads later, through the shard" {
	make_tensors "$CKPT" < <(for i in {0..7}; do echo "experts.$i.w1.input_scale F32"; done)
	wl_mount "$CKPT" "$MNT" -o trace
	at=$(index_field experts.3.w1.input_scale offset)
	as_process bash -c "cat '$T/experts.3.w1.input_scale'
		printf 'key experts.3.w1.input_scale\n' >'$MNT/.wload/consume'"
	first=$PID
	as_process dd if="$SHARD" bs=4 skip="$at" count=1 iflag=skip_bytes of=/dev/null status=none
	second=$PID
	run -0 events 'select(.event == "reread") | [.tensor, .pid, .consumed_by]'
	assert_output "[\"experts.3.w1.input_scale\",$second,$first]"
	assert_equal "$(kind_names reread)" experts.3.w1.input_scale
	wl_umount "$MNT"
}

@test "trace: a descriptor that outlives its tensor is seen to read" {
	mount_traced
	exec 7<"$T/model.norm.weight"
	rm "$T/model.norm.weight"
	head -c 100 <&7 >/dev/null
	exec 7<&-
	run -0 events 'select(.event == "reread") | .tensor'
	assert_output '"model.norm.weight"'
	run -0 kind_names reread
	assert_output model.norm.weight
	wl_umount "$MNT"
}

@test "trace: mapping what shares a page with a consumed tensor is no reading of that" {
	make_tensors "$CKPT" <<<$'a U8 6000\nb U8 6000\nc U8 60000'
	wl_mount "$CKPT" "$MNT" -o trace
	control 'key a\n' && control 'key b\n'
	# The fault's read begins on the page that b ends on.
	python3 - "$SHARD" "$(index_field c offset)" <<-'PY'
		import mmap, sys
		with open(sys.argv[1], "rb") as f:
		    m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
		    m.madvise(mmap.MADV_RANDOM)
		    m[int(sys.argv[2]) + 1]
	PY
	assert_equal "$(kind_count reread)" 0
	run -0 events 'select(.event == "read") | .first'
	assert_output '"b"'
	# All of it is.
	cat "$SHARD" >/dev/null
	run -0 kind_names reread
	assert_output $'a\nb'
	wl_umount "$MNT"
}

# ---- what counts as read ----

@test "trace: a tensor is read when its every byte was" {
	mount_traced
	name=model.embed_tokens.weight
	size=$(stat -c %s "$T/$name") half=$(($(stat -c %s "$T/$name") / 2))
	read_range "$T/$name" $half $((size - half))
	run -0 kind_names partly_read
	assert_output "$name"
	read_range "$T/$name" 0 $((half - 1))
	assert_equal "$(kind_count partly_read)" 1
	read_range "$MNT/npy/$name.npy" 0 $((half + 128))
	run -0 kind_names read_not_consumed
	assert_output "$name"
	rm "$T/$name"
	assert_equal "$(kind_count read_not_consumed)" 0
	assert_equal "$(kind_count consumed_unread)" 0
	wl_umount "$MNT"
}

@test "trace: half a tensor that is consumed was consumed unread" {
	mount_traced
	head -c 100 "$T/model.norm.weight" >/dev/null
	rm "$T/model.norm.weight"
	run -0 kind_names consumed_unread
	assert_output model.norm.weight
	wl_umount "$MNT"
}

@test "trace: loaded is key, of what was read past the mount" {
	mount_traced
	run -0 control 'loaded model.norm.weight\nloaded model.norm.weight\nkey lm_head.weight\n'
	assert_output $'1\n0\n1'
	run -1 control 'loaded no.such.tensor\n'
	assert_output 'write: EINVAL'
	run -0 kind_names consumed_unread
	assert_output lm_head.weight
	run -0 events 'select(.event == "consume") | [.tensor, .by]'
	assert_output '["model.norm.weight","loaded"]
["lm_head.weight","key"]'
	wl_umount "$MNT"
}

@test "trace: loaded works without a trace as well" {
	mount_tiny
	run -0 control 'loaded model.norm.weight\n'
	assert_output 1
	assert_not_exists "$T/model.norm.weight"
	wl_umount "$MNT"
}

@test "trace: what is restored is unread again, and what was found stays" {
	mount_traced
	cat "$T/lm_head.weight" >/dev/null
	control 'all\n'
	assert_equal "$(kind_count consumed_unread)" 29
	control 'restore\n'
	assert_equal "$(kind_count never_read)" 30
	assert_equal "$(kind_count consumed_unread)" 29
	run -0 events '[.event, .by, .tensors]'
	assert_line '["consume","all",30]'
	assert_line '["restore","all",30]'
	wl_umount "$MNT"
}

@test "trace: tensors without bytes are neither read nor unread" {
	make_tensors "$CKPT" <<<$'empty F32 0\nsome F32 3'
	wl_mount "$CKPT" "$MNT" -o trace
	assert_equal "$(kind_names never_read)" some
	cat "$T/empty" "$T/some" && rm "$T/empty" "$T/some"
	assert_equal "$(jq '[.trace[] | objects | .tensors] | add' "$MNT/.wload/stats.json")" 0
	wl_umount "$MNT"
}

@test "trace: at the end the log has a line for each kind that is not empty" {
	mount_traced
	cat "$T/lm_head.weight" "$T/model.norm.weight" >/dev/null
	control 'key lm_head.weight\n' && control 'prefix model.layers.2\n'
	run ! cat "$T/lm_head.weight"
	wl_umount "$MNT"
	run -0 cat "${WL_LOGS[$MNT]}"
	assert_output "wloadfs: trace: 19 tensors never read: 'model.embed_tokens.weight', 'model.layers.0.input_layernorm.weight', 'model.layers.0.mlp.down_proj.weight' and 16 more
wloadfs: trace: 1 tensor read and never consumed: 'model.norm.weight'
wloadfs: trace: 9 tensors consumed before all of it was read: 'model.layers.2.input_layernorm.weight', 'model.layers.2.mlp.down_proj.weight', 'model.layers.2.mlp.gate_proj.weight' and 6 more
wloadfs: trace: 1 tensor looked for after consumption: 'lm_head.weight'"
}

@test "trace: a load without a mistake leaves nothing to say" {
	mount_traced
	for file in "$T"/*; do
		cat "$file" >/dev/null
		rm "$file"
	done
	wl_umount "$MNT"
	run -0 cat "${WL_LOGS[$MNT]}"
	assert_output ''
}

# ---- the file ----

@test "trace: a full ring drops the oldest and counts them" {
	make_tensors "$CKPT" <<<$'a U8 3\nb U8 3'
	wl_mount "$CKPT" "$MNT" -o trace
	python3 - "$MNT/.wload/consume" <<-'PY'
		import os, sys
		fd = os.open(sys.argv[1], os.O_RDWR)
		lines = b"key a\nrestore\n" * 9000
		for _ in range(16):
		    os.write(fd, lines)
		    while os.read(fd, 1 << 20):
		        pass
	PY
	run -0 jq -c '.trace | [.events, .dropped]' "$MNT/.wload/stats.json"
	assert_output '[288000,25856]'
	cat "$MNT/.wload/trace" >"$BATS_TEST_TMPDIR/trace"
	run -0 sed -n 2p "$BATS_TEST_TMPDIR/trace"
	assert_output '{"event": "dropped", "events": 25856}'
	assert_equal "$(wc -l <"$BATS_TEST_TMPDIR/trace")" $((262144 + 2))
	assert_equal "$(tail -n 1 "$BATS_TEST_TMPDIR/trace" | jq -r .event)" restore
	assert_equal "$(kind_count consumed_unread)" 1
	wl_umount "$MNT"
}

@test "trace: cat ends though events go on, and what it shows is whole lines" {
	mount_traced
	(until [ -e "$BATS_TEST_TMPDIR/enough" ]; do cat "$T/model.norm.weight"; done) >/dev/null 3>&- &
	busy=$!
	for _ in 1 2 3 4 5; do
		timeout "$WL_DEADLINE" cat "$MNT/.wload/trace" >"$BATS_TEST_TMPDIR/trace"
		jq -es 'length > 0' "$BATS_TEST_TMPDIR/trace" >/dev/null
		assert_equal "$(($(jq -s '.[0].events' "$BATS_TEST_TMPDIR/trace") + 1))" \
			"$(wc -l <"$BATS_TEST_TMPDIR/trace")"
	done
	touch "$BATS_TEST_TMPDIR/enough"
	wait "$busy"
	wl_umount "$MNT"
}

@test "trace: a descriptor that was read to the end goes on from there" {
	mount_traced
	exec 7<"$MNT/.wload/trace"
	cat <&7 >/dev/null
	rm "$T/model.norm.weight"
	run -0 jq -c .tensor <(cat <&7)
	assert_output '"model.norm.weight"'
	assert_equal "$(cat <&7)" ''
	rm "$T/lm_head.weight"
	run -0 jq -c .tensor <(cat <&7)
	assert_output '"lm_head.weight"'
	exec 7<&-
	wl_umount "$MNT"
}

@test "trace: each rank's consumption is its own" {
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT" "$MNT" -o trace,ranks=2
	cat "$MNT/ranks/0/tensors/model.norm.weight" >/dev/null
	as_process rm "$MNT/ranks/0/tensors/model.norm.weight" "$MNT/ranks/0/tensors/lm_head.weight"
	first=$PID
	run ! cat "$MNT/ranks/0/tensors/model.norm.weight"
	run -0 events 'select(.event == "missing") | [.tensor, .rank, .consumed_by]'
	assert_output "[\"model.norm.weight\",0,$first]"
	assert_equal "$(kind_count consumed_unread)" 0
	exec 7<"$MNT/ranks/1/tensors/lm_head.weight" 8<"$MNT/ranks/1/tensors/model.embed_tokens.weight"
	head -c 100 <&7 >/dev/null # another's claim is no matter of this rank's
	rm "$MNT/ranks/1/tensors/model.embed_tokens.weight"
	head -c 100 <&8 >/dev/null
	exec 7<&- 8<&-
	run -0 events 'select(.event == "reread") | [.tensor, .rank]'
	assert_output '["model.embed_tokens.weight",1]'
	rm "$MNT/ranks/1/tensors/model.norm.weight" "$MNT/ranks/1/tensors/lm_head.weight"
	run -0 kind_names consumed_unread
	assert_output lm_head.weight
	run -0 events 'select(.event == "consume") | [.tensor, .rank]'
	assert_output '["model.norm.weight",0]
["lm_head.weight",0]
["model.embed_tokens.weight",1]
["model.norm.weight",1]
["lm_head.weight",1]'
	printf 'restore\n' >"$MNT/ranks/0/.wload/consume"
	run -0 events 'select(.event == "restore") | [.by, .rank, .tensors]'
	assert_output '["all",0,2]'
	run -0 ls "$MNT/ranks/0/.wload"
	refute_output --partial trace
	wl_umount "$MNT"
}

@test "trace: readers of small pieces get the same" {
	mount_traced
	cat "$T"/* >/dev/null
	cat "$MNT/.wload/trace" >"$BATS_TEST_TMPDIR/whole"
	dd if="$MNT/.wload/trace" bs=7 status=none >"$BATS_TEST_TMPDIR/pieces"
	cmp "$BATS_TEST_TMPDIR/whole" "$BATS_TEST_TMPDIR/pieces"
	wl_umount "$MNT"
}

@test "trace: readers, consumers and cat side by side" {
	mount_traced
	local pids=() i
	for i in 1 2; do
		(for _ in {1..15}; do cat "$T"/* "$SHARD" >/dev/null 2>&1 || true; done) 3>&- &
		pids+=($!)
	done
	(for _ in {1..40}; do
		printf 'prefix model.layers.1\nloaded lm_head.weight\n' >"$MNT/.wload/consume"
		printf 'restore\n' >"$MNT/.wload/consume"
	done) 3>&- &
	pids+=($!)
	(for _ in {1..40}; do rm -f "$T/model.norm.weight"; done) 3>&- &
	pids+=($!)
	for _ in {1..10}; do
		jq -c . "$MNT/.wload/trace" >/dev/null
		jq -c .trace "$MNT/.wload/stats.json" "$MNT/.wload/trace-summary.json" >/dev/null
		cat "$MNT/.wload/metrics" "$MNT/.wload/layers.json" >/dev/null
	done
	wait "${pids[@]}"
	control 'restore\n'
	wl_umount "$MNT"
}
