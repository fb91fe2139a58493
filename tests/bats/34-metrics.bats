#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# .wload/layers.json, .wload/metrics, and the peak of resident bytes: that they agree with what the
# other files say, and with what happened. The grammar of metrics is checked here line by line;
# tests/oracles/metrics_agree.py asks Prometheus's own parser.

load helper

setup() {
	require fuse disk
	wl_paths
	T=$MNT/tensors
	L=$MNT/.wload/layers.json
	M=$MNT/.wload/metrics
}

teardown() {
	wl_cleanup
}

# layer NAME FIELD
layer() { jq -r --arg name "$1" --arg field "$2" '.layers[] | select(.name == $name)[$field]' "$L"; }

# metric SERIES: its value.
metric() { awk -v series="$1" '$1 == series { print $2 }' "$M"; }

# The text format's grammar: a family's HELP, its TYPE, then its samples, each family once.
check_grammar() {
	python3 - "$1" <<-'PY'
		import re, sys
		text = open(sys.argv[1], newline="").read()
		assert text.endswith("\n")
		name, families = None, set()
		sample = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([^\n]*)\})? ([0-9]+(\.[0-9]+)?)')
		label = re.compile(r'[a-zA-Z_][a-zA-Z0-9_]*="((?:[^"\\\n]|\\[\\"n])*)"(,|$)')
		lines = text.split("\n")[:-1]
		for i, line in enumerate(lines):
		    if line.startswith("# HELP "):
		        name = line.split(" ")[2]
		        assert name not in families, name
		        families.add(name)
		        kind = re.fullmatch(rf"# TYPE {name} (gauge|counter)", lines[i + 1])
		        assert kind, lines[i + 1]
		        assert (kind[1] == "counter") == name.endswith("_total"), name
		        seen = set()
		    elif not line.startswith("# TYPE "):
		        found = sample.fullmatch(line)
		        assert found and found[1] == name, line
		        assert found[3] not in seen, line
		        seen.add(found[3])
		        rest = found[3] or ""
		        while rest:
		            one = label.match(rest)
		            assert one, line
		            rest = rest[one.end():]
		print(len(families))
	PY
}

@test "layers: every tensor is in one, in disk order" {
	mount_tiny
	run -0 jq -r '.layers[].name' "$L"
	assert_output 'lm_head
model.embed_tokens
model.layers.0
model.layers.1
model.layers.2
model.norm'
	assert_equal "$(jq '[.layers[].tensors] | add' "$L")" "$(stats_field tensors)"
	assert_equal "$(jq '[.layers[].bytes] | add' "$L")" "$(stats_field bytes)"
	assert_equal "$(layer model.layers.1 tensors)" 9
	assert_equal "$(layer model.layers.1 bytes)" "$(jq -s '[.[] | select(.name) |
		select(.name | startswith("model.layers.1.")).bytes] | add' "$MNT/.wload/index.jsonl")"
	wl_umount "$MNT"
}

@test "layers: consumed and resident bytes move" {
	make_tiny tiny-llama "$CKPT"
	sync "$CKPT"/*
	wl_mount "$CKPT" "$MNT"
	bytes=$(layer model.layers.1 bytes) resident=0
	# Again, where the machine took some by itself meanwhile.
	wait_until "cat '$T'/model.layers.1.* >/dev/null
		resident=\$(layer model.layers.1 resident_bytes)
		[ \"\$resident\" -ge '$bytes' ]"
	# A page at each border may be a neighbour's as well.
	assert [ "$resident" -le $((bytes + 8192)) ]
	rm "$T/model.layers.1.mlp.up_proj.weight"
	assert_equal "$(layer model.layers.1 consumed_tensors)" 1
	assert_equal "$(layer model.layers.1 consumed_bytes)" \
		"$(jq -s '.[] | select(.name == "model.layers.1.mlp.up_proj.weight").bytes' "$MNT/.wload/index.jsonl")"
	control 'prefix model.layers.1\n'
	assert_equal "$(layer model.layers.1 consumed_bytes)" "$bytes"
	assert [ "$(layer model.layers.1 resident_bytes)" -le 8192 ]
	assert_equal "$(layer model.layers.0 consumed_tensors)" 0
	control 'restore\n'
	assert_equal "$(layer model.layers.1 consumed_bytes)" 0
	wl_umount "$MNT"
}

@test "layers: a rank's speak of its own claims" {
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT" "$MNT" -o ranks=2
	rm -r "$MNT/ranks/1/modules/model/layers/0"
	L=$MNT/ranks/1/.wload/layers.json
	assert_equal "$(layer model.layers.0 consumed_tensors)" 9
	L=$MNT/.wload/layers.json
	assert_equal "$(layer model.layers.0 consumed_tensors)" 0
	wl_umount "$MNT"
}

@test "metrics: the grammar holds" {
	mount_tiny
	run -0 check_grammar "$M"
	assert [ "$output" -ge 15 ]
	refute grep -q model.layers "$M"
	wl_umount "$MNT"
}

@test "metrics: the grammar holds for a folder of an odd name, and with a trace" {
	local odd=$BATS_TEST_TMPDIR/$'a "b" \\n\n{c="d",}\xff'
	make_tiny tiny-llama "$odd"
	wl_mount "$odd" "$MNT" -o trace
	run -0 check_grammar "$M"
	assert_equal "$(metric 'wloadfs_trace_tensors{kind="never_read"}')" 30
	assert_equal "$(metric wloadfs_trace_dropped_events_total)" 0
	wl_umount "$MNT"
}

@test "metrics: the numbers are those of stats.json" {
	make_tiny tiny-llama "$CKPT" --max-shard-size 4MiB
	sync "$CKPT"/*
	wl_mount "$CKPT" "$MNT"
	cat "$T"/* >/dev/null
	control 'prefix model.layers.0\n'
	for name in tensors consumed_tensors consumed_bytes resident_bytes peak_resident_bytes \
		held_bytes; do
		assert_equal "$(metric "wloadfs_$name")" "$(stats_field $name)"
	done
	assert_equal "$(metric wloadfs_tensor_bytes)" "$(stats_field bytes)"
	assert_equal "$(metric wloadfs_evicted_bytes_total)" "$(stats_field evicted_bytes)"
	assert_equal "$(metric wloadfs_served_bytes_total)" "$(stats_field served_bytes)"
	assert_equal "$(metric 'wloadfs_feature{feature="direct_mmap"}')" \
		"$(jq '.features.direct_mmap.on | if . then 1 else 0 end' "$MNT/.wload/stats.json")"
	assert_equal "$(awk -F'[{ ]' '$1 == "wloadfs_shard_resident_bytes" { n++; sum += $NF }
		END { print n, sum }' "$M")" "2 $(stats_field resident_bytes)"
	wl_umount "$MNT"
}

@test "metrics: limits and claims are there where the mount has them" {
	mount_tiny
	refute grep -qE '^wloadfs_(budget|prefetch|claimed)' "$M"
	wl_umount "$MNT"
	wl_mount "$CKPT" "$MNT" -o budget=64M,prefetch=2M,ranks=2
	cat "$T"/* "$MNT/model.safetensors" >/dev/null
	rm "$MNT/ranks/1/tensors/model.norm.weight"
	run -0 check_grammar "$M"
	assert_equal "$(metric wloadfs_budget_window_bytes)" \
		"$(jq .budget.window_bytes "$MNT/.wload/stats.json")"
	assert [ "$(metric wloadfs_budget_used_bytes)" -gt 0 ]
	assert_equal "$(metric wloadfs_prefetch_limit_bytes)" $((2 << 20))
	assert [ "$(metric wloadfs_prefetch_ahead_bytes)" -le $((2 << 20)) ]
	assert_equal "$(metric wloadfs_reread_bytes_total)" "$(stats_field reread_bytes)"
	assert_equal "$(metric 'wloadfs_claimed_tensors{rank="0"}')" 30
	assert_equal "$(metric 'wloadfs_claimed_tensors{rank="1"}')" 29
	wl_umount "$MNT"
}

@test "metrics: over 1024 shards have no series of their own" {
	require numpy
	"$PYTHON" - "$CKPT" <<-'PY'
		import json, os, struct, sys
		os.mkdir(sys.argv[1])
		for i in range(1025):
		    h = json.dumps({f"t{i}": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
		    with open(f"{sys.argv[1]}/s{i:04}.safetensors", "wb") as f:
		        f.write(struct.pack("<Q", len(h)) + h + b"x")
	PY
	ulimit -n 4096
	wl_mount "$CKPT" "$MNT"
	run -0 check_grammar "$M"
	refute grep -q shard= "$M"
	rm "$CKPT/s1024.safetensors"
	wl_umount "$MNT"
	wl_mount "$CKPT" "$MNT"
	assert_equal "$(grep -c '^wloadfs_shard_resident_bytes{' "$M")" 1024
	wl_umount "$MNT"
}

@test "peak: it stays when the pages have gone" {
	make_tiny tiny-llama "$CKPT"
	sync "$CKPT"/*
	vmtouch -qe "$CKPT/model.safetensors"
	wl_mount "$CKPT" "$MNT"
	assert_equal "$(stats_field peak_resident_bytes)" "$(stats_field resident_bytes)"
	cat "$T"/* >/dev/null
	control 'all\n'
	assert_equal "$(stats_field resident_bytes)" 0
	# Counted before the first eviction: nothing was asked meanwhile.
	most=$(($(stats_field bytes) * 9 / 10)) # the machine may take some by itself
	assert [ "$(stats_field peak_resident_bytes)" -ge "$most" ]
	wl_umount "$MNT"
}

@test "peak: what comes and goes while nobody asks is seen, once a second" {
	make_tiny tiny-llama "$CKPT"
	sync "$CKPT"/*
	vmtouch -qe "$CKPT/model.safetensors"
	wl_mount "$CKPT" "$MNT"
	assert_equal "$(stats_field resident_bytes)" 0
	exec 7<"$MNT/model.safetensors" # by passthrough, where there is: no read of it reaches us
	cat <&7 >/dev/null
	# Nothing says that the evictor has looked but its clock: a second, and some more.
	sleep 2.5
	vmtouch -qe "$CKPT/model.safetensors"
	assert_equal "$("$PROBE" resident "$CKPT/model.safetensors")" 0
	most=$(($(stats_field bytes) * 9 / 10)) # the machine may take some by itself
	assert [ "$(stats_field peak_resident_bytes)" -ge "$most" ]
	exec 7<&-
	wl_umount "$MNT"
}
