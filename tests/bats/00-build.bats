#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What needs no mount: made checkpoints, the verifier, the programs' presence.

load helper

setup() {
	wl_paths
}

@test "build: wloadfs and wload say their version" {
	version=$(sed -n 's/.*WLOAD_VERSION "\(.*\)".*/\1/p' "$WL_ROOT/include/wloadfs/version.h")
	run -0 "$WLOADFS" -V
	assert_output --partial "$version"
	run -0 "$WLOAD" --version
	assert_output --partial "$version"
}

# pretend_libfuse VERSION: what pkg-config is to find.
pretend_libfuse() {
	printf 'Name: fuse3\nDescription: none\nVersion: %s\n' "$1" >"$BATS_TEST_TMPDIR/fuse3.pc"
	export PKG_CONFIG_PATH=$BATS_TEST_TMPDIR
}

@test "make: takes the way to passthrough that is for the libfuse it finds" {
	for pair in 3.13.0:314 3.16.2:314 3.17.0:317 3.18.1:317; do
		pretend_libfuse "${pair%:*}"
		run -0 make -n -C "$WL_ROOT" BUILD=none build/none/fs.a
		assert_output --partial "fs/wire_${pair#*:}.c"
		assert_equal "$(grep -o 'wire_3[0-9]*\.c' <<<"$output" | sort -u | wc -l)" 1
	done
}

@test "make: says which libfuse is needed" {
	pretend_libfuse 3.12.0
	run -2 make -n -C "$WL_ROOT" BUILD=none build/none/fs.a
	assert_output --partial 'libfuse 3.13 or later is needed, and pkg-config finds 3.12.0'
	run -2 make -n -C "$WL_ROOT" BUILD=none PKGCONF=false build/none/fs.a
	assert_output --partial 'is needed, and false finds none'
}

probe_groff() { command -v groff >/dev/null; }

@test "man pages: every quote ends before the next one begins, as man(1) shows them" {
	local page shown opens=$'\u2018' closes=$'\u2019'
	require groff
	while read -r page; do
		shown=$(groff -mdoc -Tutf8 -P-cbou "$page" | tr -s '\n ' ' ')
		assert_regex "$shown" ' NAME '
		run -1 grep -oE "${opens}[^${closes}]*${opens}|${closes}${closes}" <<<"$shown"
	done < <(find "$WL_ROOT/fs" "$WL_ROOT/loader" -name '*.[1-8]')
}

# cases_taken BUILD FULL: how many of 300 cases of slow oracles are run.
cases_taken() {
	run -0 env BUILD="$1" FULL="$2" PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$WL_ROOT/tests/oracles" \
		python3 -c 'import thin
print(sum(thin.takes(f"case {i}") for i in range(300)), flush=True)
thin.tell()'
}

@test "oracles: the slow ones take a third outside release, and say so; FULL=1 takes all" {
	cases_taken release ''
	assert_output 300
	cases_taken asan 1
	assert_output 300
	cases_taken asan ''
	[ "${lines[0]}" -gt 75 ] && [ "${lines[0]}" -lt 125 ]
	assert_equal "${lines[1]}" "# asan: ${lines[0]} of 300 cases, FULL=1 takes all"
}

@test "make-checkpoint: DeepSeek-R1-FP4 has its tensors and bytes" {
	run -0 "$MAKE_CHECKPOINT" --list
	assert_line --regexp '^deepseek-r1-fp4 .* 180364 tensors +423605060024 bytes$'
	assert_line --regexp '^qwen3-235b-a22b .* 36945 tensors +470187269120 bytes$'
}

@test "make-checkpoint: Llama-3.1-70B is cut into its 30 shards" {
	run -0 "$MAKE_CHECKPOINT" --family llama-3.1-70b --sparse --jobs 1 "$CKPT"
	assert_output --partial '723 tensors, 141107412992 bytes, 30 shards, 1446 stamps'
	assert_file_exists "$CKPT/model-00030-of-00030.safetensors"
	run -0 "$CHECK_STAMPS" --stamps "$CKPT"
	assert_output --partial '723 tensors'
}

@test "make-checkpoint: refuses a folder that holds shards" {
	make_tiny tiny-llama "$CKPT"
	run -1 "$MAKE_CHECKPOINT" --family tiny-llama "$CKPT"
	assert_output --partial "already holds 'model.safetensors'"
}

@test "make-checkpoint: an inventory's faults name the line" {
	run -1 make_tensors "$CKPT" <<<$'a U8 3\nb U9 3'
	assert_output --partial 'line 2'
	run -1 make_tensors "$CKPT" <<<'a F4 3'
	assert_output --partial "'a': 12 bits"
}

@test "check-stamps: one flipped byte is found and named" {
	make_tiny tiny-qwen2 "$CKPT"
	run -0 "$CHECK_STAMPS" "$CKPT"
	assert_output '39 tensors, 6458880 bytes checked, 0 different'
	size=$(stat -c %s "$CKPT/model.safetensors")
	printf X | dd of="$CKPT/model.safetensors" bs=1 seek=$((size - 1)) conv=notrunc status=none
	run -1 "$CHECK_STAMPS" "$CKPT"
	assert_output --partial 'differs at its byte'
	assert_output --partial '1 different'
}

@test "probe: agrees with make-checkpoint about a tensor's bytes" {
	make_tensors "$CKPT" <<<'"a\u0000b.ü" U8 100003'
	data=$BATS_TEST_TMPDIR/data
	tail -c 100003 "$CKPT/model.safetensors" >"$data"
	run -0 "$PROBE" stamps "$data" $'a\xc0\x80b.ü'
	assert_output 100003
	run -1 "$PROBE" stamps "$data" other
}
