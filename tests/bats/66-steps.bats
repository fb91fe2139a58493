#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What is done to bytes that can't be used as they are (include/wloadfs/transform.h).

load helper

setup() {
	wl_paths
}

@test "steps: every small float is that of ml_dtypes, and F32 is rounded to it as there" {
	find_python numpy,ml_dtypes || lacks pypi 'no numpy with ml_dtypes here'
	run -0 "$PYTHON" "$WL_ROOT/tests/oracles/floats_agree.py" "$WL_BUILD/tests/floats"
	refute_output --partial 'not ok'
}
