#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# Names that a file can't have, or that two things want: each tensor has one, and always the same.

load helper

setup() {
	require fuse
	wl_paths
	T=$MNT/tensors
	M=$MNT/modules
}

teardown() {
	wl_cleanup
}

# The full name from a tensor's attribute; a NUL as C0 80, since the shell can't hold one.
attribute_name() {
	getfattr --absolute-names --only-values -n user.wload.name "$1" | sed 's/\x00/\xc0\x80/g'
}

# shows NAME FILE PATH: the tensor NAME (JSON) is tensors/FILE and modules/PATH, everywhere.
shows() {
	make_tensors "$CKPT" <<<$"$1 U8 77"$'\nneighbour U8 5'
	wl_mount "$CKPT" "$MNT"
	assert_equal "$(count_files "$T") $(count_files "$M") $(count_files "$MNT/npy")" '2 2 2'
	assert_exists "$T/$2"
	assert_exists "$M/$3"
	assert_exists "$MNT/npy/$2.npy"
	assert_equal "$(stat -c %i "$T/$2")" "$(stat -c %i "$M/$3")"
	assert_tensor "$T/$2" "$(attribute_name "$T/$2")"
	run -0 control "key $2\\n"
	assert_output 1
	assert_not_exists "$T/$2"
	assert_not_exists "$M/$3"
	wl_umount "$MNT"
}

@test "names: '%' is %25" {
	shows '"100%.w"' '100%25.w' '100%25/w'
}

@test "names: '/' is %2F" {
	shows '"a/b.c"' 'a%2Fb.c' 'a%2Fb/c'
}

@test "names: an absolute path stays inside" {
	shows '"/etc/passwd"' '%2Fetc%2Fpasswd' '%2Fetc%2Fpasswd'
}

@test "names: a path upwards stays inside" {
	shows '"../../x"' '..%2F..%2Fx' '%/%/%2F/%/%2Fx'
}

@test "names: control bytes are %XX" {
	shows '"a\nb\u0001\u007f.w"' 'a%0Ab%01%7F.w' 'a%0Ab%01%7F/w'
}

@test "names: NUL is %00" {
	shows '"a\u0000b.w"' 'a%00b.w' 'a%00b/w'
}

@test "names: '.' is %2E" {
	shows '"."' '%2E' '%/%'
}

@test "names: '..' is %2E%2E" {
	shows '".."' '%2E%2E' '%/%/%'
}

@test "names: the empty name is '%'" {
	shows '""' '%' '%'
}

@test "names: an empty component is '%'" {
	shows '"a..b"' 'a..b' 'a/%/b'
}

@test "names: dots at the ends" {
	shows '".a."' '.a.' '%/a/%'
}

@test "names: blanks, quotes, backslashes and leading dashes stay" {
	shows '"-a b \"c\" \\ *.w"' '-a b "c" \ *.w' '-a b "c" \ */w'
}

@test "names: Unicode stays as it is" {
	shows '"模型.层.ü.😀"' '模型.层.ü.😀' '模型/层/ü/😀'
}

@test "names: a name that looks escaped is not the one that it spells" {
	make_tensors "$CKPT" <<-'LINES'
		"a/b" U8 11
		"a%2Fb" U8 22
	LINES
	wl_mount "$CKPT" "$MNT"
	assert_tensor "$T/a%2Fb" a/b
	assert_tensor "$T/a%252Fb" a%2Fb
	wl_umount "$MNT"
}

@test "names: a tensor that is also a prefix keeps its name, the folder gets a dot" {
	make_tensors "$CKPT" <<-'LINES'
		l.weight U8 100
		l.weight.absmax F32 4
		l.weight.quant_state.nf4 U8 9
	LINES
	wl_mount "$CKPT" "$MNT"
	assert_tensor "$T/l.weight" l.weight
	assert_tensor "$T/l.weight.absmax" l.weight.absmax
	run -0 ls "$M/l"
	assert_output $'weight\nweight.'
	assert_tensor "$M/l/weight" l.weight
	assert_tensor "$M/l/weight./absmax" l.weight.absmax
	assert_tensor "$M/l/weight./quant_state/nf4" l.weight.quant_state.nf4
	run -0 control 'prefix l.weight\n'
	assert_output 2
	assert_exists "$T/l.weight"
	assert_dir_exists "$M/l/weight."
	wl_umount "$MNT"
}

@test "names: rm -r of such a folder leaves the tensor of its name" {
	make_tensors "$CKPT" <<<$'l.weight U8 100\nl.weight.absmax F32 4'
	wl_mount "$CKPT" "$MNT"
	rm -r "$M/l/weight."
	run -0 ls "$T"
	assert_output l.weight
	wl_umount "$MNT"
}

@test "names: over 255 bytes are shortened, always the same, the full name an attribute" {
	long=$(printf 'x%.0s' {1..300})
	make_tensors "$CKPT" <<<"$long.a U8 33"$'\n'"$long.b U8 44"
	wl_mount "$CKPT" "$MNT"
	run -0 ls "$T"
	assert_equal "${#lines[@]}" 2
	before=$output
	for file in "$T"/* "$MNT"/npy/*; do
		[ "${#file}" -le $((${#MNT} + 9 + 255)) ] || fail "'$file' is too long"
	done
	for file in "$T"/*; do
		name=$(attribute_name "$file")
		assert_regex "$name" "^$long\.[ab]\$"
		assert_tensor "$file" "$name"
	done
	assert_equal "$(count_files "$MNT/npy") $(count_files "$M")" '2 2'
	wl_umount "$MNT"
	wl_mount "$CKPT" "$MNT"
	run -0 ls "$T"
	assert_output "$before"
	wl_umount "$MNT"
}

@test "names: 252 bytes fit tensors/ but not npy/, and both work" {
	long=$(printf 'y%.0s' {1..252})
	make_tensors "$CKPT" <<<"$long U8 33"
	wl_mount "$CKPT" "$MNT"
	assert_equal "$(count_files "$T") $(count_files "$MNT/npy")" '1 1'
	assert_tensor "$T/$(ls "$T")" "$long"
	wc -c "$MNT"/npy/*
	wl_umount "$MNT"
}

@test "names: case counts" {
	make_tensors "$CKPT" <<<$'a.W U8 3\na.w U8 4\nA.w U8 5'
	wl_mount "$CKPT" "$MNT"
	assert_equal "$(count_files "$T") $(count_files "$M")" '3 3'
	assert_equal "$(stat -c %s "$T/a.W" "$T/a.w" "$T/A.w" | xargs)" '3 4 5'
	wl_umount "$MNT"
}

@test "names: a tensor may be called as a file of ours" {
	make_tensors "$CKPT" <<<$'tensors U8 3\n.wload U8 4\nx.npy U8 5\nx U8 6'
	wl_mount "$CKPT" "$MNT"
	assert_equal "$(stat -c %s "$T/tensors" "$T/.wload" "$T/x.npy" "$T/x" | xargs)" '3 4 5 6'
	assert_exists "$MNT/npy/x.npy"
	assert_exists "$MNT/npy/x.npy.npy"
	wl_umount "$MNT"
}
