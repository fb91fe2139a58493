#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What `make install` leaves is enough for others: a C program by pkg-config, shared and static, and
# the Python module. And the library takes no name that is not its own.

load helper

setup_file() {
	[ "${BUILD:-release}" = release ] || return 0
	DEST=$BATS_FILE_TMPDIR/dest
	STAGE=$DEST/opt/wload
	export DEST STAGE
	make -s -C "$BATS_TEST_DIRNAME/../.." install DESTDIR="$DEST" PREFIX=/opt/wload >&2
}

setup() {
	# A sanitizer's library needs its runtime in every program; nobody installs one.
	[ "${BUILD:-release}" = release ] || skip "a build of $BUILD is not installed"
	wl_paths
}

# Global names, of an archive or (with -D) of a shared library, that are not the library's.
foreign_names() { nm -g --defined-only "$@" | awk 'NF == 3 && $3 !~ /^wload_/ { print $3 }'; }

# pkg-config for what was staged: it would say /opt/wload.
staged() {
	PKG_CONFIG_PATH=$STAGE/lib/pkgconfig pkg-config --define-variable=prefix="$STAGE" "$@" wload
}

# build_program OUT LINK…: a program of a user, from installed files only; it has names that ours
# have inside (checked with nm below).
build_program() {
	local out=$1 cflags
	shift
	cat >"$BATS_TEST_TMPDIR/count.c" <<-'C'
		#include <stdio.h>
		#include <wloadfs/loader.h>

		int json_next(void);
		int json_next(void) { return 41; }

		int main(int argc, char **argv)
		{
			struct wload_load_options opt = WLOAD_LOAD_OPTIONS_DEFAULT;
			struct wload_load *load;
			struct wload_error err;

			opt.device = "host";
			if (argc != 2 || wload_load(argv[1], &opt, &load, &err) < 0) {
				(void)fprintf(stderr, "%s\n", err.text);
				return 1;
			}
			printf("%u parameters, %d\n", wload_load_count(load), json_next() + 1);
			wload_load_unref(load);
			return 0;
		}
	C
	read -ra cflags < <(staged --cflags)
	"${CC:-gcc}" -Wall -Wextra -Werror "${cflags[@]}" "$BATS_TEST_TMPDIR/count.c" -o "$out" "$@"
}

@test "install: the libraries' global names all begin with wload_" {
	run -0 foreign_names "$STAGE/lib/libwload.a"
	assert_output ''
	run -0 foreign_names -D "$STAGE/lib/libwload.so"
	assert_output ''
	nm -g --defined-only "$WL_BUILD/libwload.a" | grep -q ' json_next$'
	run -0 nm -D --defined-only "$STAGE/lib/libwload.so"
	assert_output --partial ' wload_load'
}

@test "install: a C program links the shared library by pkg-config" {
	make_tiny tiny-llama "$CKPT"
	read -ra libs < <(staged --libs)
	build_program "$BATS_TEST_TMPDIR/count" "${libs[@]}"
	run -1 env LD_LIBRARY_PATH="$STAGE/lib" "$BATS_TEST_TMPDIR/count" "$BATS_TEST_TMPDIR/none"
	LD_LIBRARY_PATH=$STAGE/lib run -0 "$BATS_TEST_TMPDIR/count" "$CKPT"
	assert_output --regexp '^[1-9][0-9]* parameters, 42$'
}

@test "install: a C program links the archive by pkg-config --static" {
	make_tiny tiny-llama "$CKPT"
	read -ra libs < <(staged --static --libs)
	build_program "$BATS_TEST_TMPDIR/count" "${libs[@]/#-lwload/-l:libwload.a}"
	run -0 ldd "$BATS_TEST_TMPDIR/count"
	refute_output --partial libwload
	run -0 "$BATS_TEST_TMPDIR/count" "$CKPT"
	assert_output --regexp '^[1-9][0-9]* parameters, 42$'
}

@test "install: programs run, and pages are there" {
	run -0 "$STAGE/bin/wload" --version
	run -0 "$STAGE/bin/wloadfs" -V
	assert_file_exists "$STAGE/share/man/man1/wload.1"
	assert_file_exists "$STAGE/share/man/man1/wloadfs.1"
	assert_file_exists "$STAGE/share/man/man5/wload-rules.5"
	run ! grep -rF "$WL_ROOT" "$STAGE/lib/pkgconfig" "$STAGE/share"
}

@test "install: the Python module finds its library" {
	require numpy
	make_tiny tiny-llama "$CKPT"
	run -0 env -u WLOAD_LIBRARY PYTHONDONTWRITEBYTECODE=1 \
		PYTHONPATH="$STAGE/share/wloadfs/python" "$PYTHON" - "$CKPT" <<-'PY'
			import sys
			sys.modules["torch"] = None
			import wload
			print(wload.__file__, wload._lib._name, len(wload.load(sys.argv[1], "host")))
		PY
	assert_output --regexp "^$STAGE/.* $STAGE/lib/libwload.so.0 [1-9][0-9]*\$"
}
