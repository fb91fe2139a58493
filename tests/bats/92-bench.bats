#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# `make bench` on tiny files: whether it measures and tells, not how fast anything is. A row says
# why it could not be measured; nothing is left behind, however the run ends.

load helper

setup() {
	require fuse
	wl_paths
	OUT=$BATS_TEST_TMPDIR/out
	WORK=$BATS_TEST_TMPDIR/work
	mkdir "$WORK"
	[ -x "$WL_BUILD/bench/filerate" ] || fail "'$WL_BUILD/bench/filerate' is not built"
}

teardown() {
	wl_cleanup
}

# A Python without any peer, whatever is installed here: isolated, and with no packages of its own.
bench() {
	find_python numpy || export PYTHON=python3
	timeout 50 "$WL_ROOT/scripts/bench" --quick --quiet --dir "$WORK" --tmpfs "$WORK" \
		--out "$OUT" --python "$PYTHON" "$@" </dev/null 3>&-
}

result() { jq -r "$@" "$OUT/results.json"; }

assert_nothing_left() {
	run ! grep -F "$BATS_TEST_TMPDIR/" /proc/self/mounts
	assert_equal "$(ls -A "$WORK")" ''
}

assert_xml() {
	run -0 python3 -c 'import sys, xml.dom.minidom as m; [m.parse(p) for p in sys.argv[1:]]' "$@"
}

@test "bench: figures, verdicts, table and pictures follow from what was measured" {
	run -0 python3 "$WL_ROOT/tests/bench/test_results.py"
}

@test "bench: children, mounts, test files and memory are the run's own" {
	run -0 python3 "$WL_ROOT/tests/bench/test_running.py"
}

@test "bench: the mount's sections give figures for both sides" {
	mv "$WORK" "$WORK here"
	ln -s "$WORK here" "$WORK" # test files may go through a link, and where a name has a blank
	run -0 bench --only shards,tensor-files,scale,consume,remove
	run result '[.rows[] | select(.section == "shards" or .section == "tensor-files" or
		.section == "scale" or .section == "consume" or .section == "remove") |
		select(.ours == null or (.against != "" and .theirs == null)) |
		.id + ": " + .why] | join("; ")'
	assert_output ''
	assert_equal "$(result .schema)" 1
	assert_xml "$OUT/throughput.svg" "$OUT/memory.svg"
	run -0 grep -c '^| shard through the mount' "$OUT/results.md"
	assert_output 4
	assert_nothing_left
}

@test "bench: a loader's row has a rate and its memory, or says what is missing" {
	run -0 bench --only host-warm,gpu-cached --size 8M
	run result '[.rows[] | select(.section == "host-warm" or .section == "gpu-cached") |
		select(.ours == null or (.against != "" and .theirs == null)) |
		select(.why == "") | .id] | join(" ")'
	assert_output ''
	for loader in wload fastsafetensors runai safetensors; do
		run -0 result ".values[\"host-warm/$loader\"][0] // .reasons[\"host-warm/$loader\"]"
		assert_regex "$output" '^[0-9.]+$|is not installed'
	done
	nvidia-smi -L >/dev/null 2>&1 ||
		assert_equal "$(result '.reasons["gpu-cached/wload"]')" 'no GPU here'
	run ! grep -F "$BATS_TEST_TMPDIR" "$OUT"/*
	assert_equal "$(result '.values["host-warm/pread"] | length')" 1
	assert_nothing_left
}

@test "bench: loads and readers in a memory cgroup have figures, or say what is missing" {
	run -0 bench --only flat,modes
	run result '[.rows[] | select(.section == "flat" or .section == "modes") |
		select(.ours == null or (.against != "" and .theirs == null)) |
		select(.why | test("is not installed|no memory cgroup") | not) |
		.id + ": " + .why] | join("; ")'
	assert_output ''
	assert_nothing_left
}

@test "bench: a tool that is not built is the reason of its rows alone" {
	local build=$BATS_TEST_TMPDIR/tree/build
	mkdir -p "$build/bare"
	ln -s "$WL_ROOT"/{scripts,tests,loader} "$build/.."
	cp "$WL_BUILD/wload" "$WL_BUILD/wloadfs" "$build/bare"
	BUILD=bare run -0 timeout 50 python3 "$build/../scripts/bench" --quick --quiet \
		--dir "$WORK" --out "$OUT" --only scale
	assert_equal "$(result '.values["scale/list"] | length')" 1
	assert_regex "$(result '.reasons["scale/stat-first"]')" "'bench/names' is not built"
	assert_nothing_left
}

@test "bench: interrupted at any moment it leaves nothing" {
	for delay in 0.5 1 2 3; do
		for signal in INT TERM; do
			env --default-signal=INT,QUIT "$WL_ROOT/scripts/bench" --quick --quiet --dir "$WORK" \
				--out "$OUT" --only shards,scale,consume,remove --repeat 9 \
				</dev/null >/dev/null 2>&1 3>&- &
			pid=$!
			sleep "$delay" # any moment will do
			kill -s "$signal" "$pid"
			wait "$pid" && rc=0 || rc=$?
			assert_regex "$rc" '^(130|143)$'
			assert_nothing_left
		done
	done
}

@test "bench: what makes no sense is refused before anything is made" {
	run -2 bench --only nothing
	assert_output --partial "no section 'nothing'"
	run -2 bench --size 12
	assert_output --partial "is no size"
	run -2 bench --repeat 0
	assert_output --partial "must be at least 1"
	run -1 bench --python "$BATS_TEST_TMPDIR/none"
	assert_output "bench: '$BATS_TEST_TMPDIR/none' is no Python that runs"
	run -1 bench --out /dev/null
	assert_output "bench: no results can be written to '/dev/null': File exists"
	assert_nothing_left
}
