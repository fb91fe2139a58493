#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# -o ranks=N: a tree for each of N consumers. Removing in one drops its claim; the last claim
# consumes; the root speaks for all.

load helper

setup() {
	require fuse
	wl_paths
	T=$MNT/tensors
	SHARD=$CKPT/model.safetensors
}

teardown() {
	wl_cleanup
}

# ranks N [OPTIONS…]: a mount of tensors of 1 MiB each for N ranks.
ranks() {
	make_tensors "$CKPT" < <(for i in {0..11}; do echo "m.$i.w U8 $((1048576 + i))"; done)
	wl_mount "$CKPT" "$MNT" -o "ranks=$1" "${@:2}"
}

claims() { getfattr --only-values -n user.wload.claims "$1"; }

pages() { fincore -nb -o RES "$SHARD" | tr -d ' '; }

cache_all() {
	sync "$SHARD"
	vmtouch -qt "$SHARD"
}

@test "ranks: each has a tree that is laid out like the root" {
	ranks 3
	run -0 ls "$MNT/ranks"
	assert_output $'0\n1\n2'
	run -0 diff <(cd "$MNT" && ls -A -I ranks) <(cd "$MNT/ranks/1" && ls -A)
	run -0 diff <(cd "$MNT" && find tensors modules npy .wload ! -name metrics | sort) \
		<(cd "$MNT/ranks/2" && find tensors modules npy .wload | sort)
	run -0 cmp "$CKPT/model.safetensors" "$MNT/ranks/2/model.safetensors"
	run -0 cmp "$T/m.3.w" "$MNT/ranks/0/modules/m/3/w"
	assert_tensor "$MNT/ranks/1/tensors/m.4.w" m.4.w
	# The checkpoint's own files are one file, whichever tree they are opened in.
	assert_equal "$(stat -c %i "$MNT/model.safetensors")" \
		"$(stat -c %i "$MNT/ranks/1/model.safetensors")"
	run stat "$MNT/ranks/3"
	assert_failure
	run stat "$MNT/ranks/01"
	assert_failure
	wl_umount "$MNT"
}

@test "ranks: without the option there is no folder, and the checkpoint's own is shown" {
	make_tensors "$CKPT" <<<"t U8 100"
	mkdir "$CKPT/ranks"
	touch "$CKPT/ranks/mine"
	wl_mount "$CKPT" "$MNT"
	assert_file_exists "$MNT/ranks/mine"
	wl_umount "$MNT"
	wl_mount "$CKPT" "$MNT" -o ranks=1
	assert_file_not_exists "$MNT/ranks/mine"
	run -0 grep "'/ranks' of the checkpoint is left out\|ranks' of the checkpoint is left out" \
		"${WL_LOGS[$MNT]}"
	wl_umount "$MNT"
}

@test "ranks: a number that makes no sense is refused" {
	make_tensors "$CKPT" <<<"t U8 100"
	for n in 0 257 -1 x 1.5 ''; do
		run -2 "$WLOADFS" -o "ranks=$n" "$CKPT" "$MNT"
		assert_output --partial "ranks='$n' is not a number from 1 to 256"
	done
}

@test "ranks: removing hides a rank's names, and no one else's" {
	ranks 3
	rm "$MNT/ranks/1/tensors/m.2.w"
	assert_errno ENOENT stat "$MNT/ranks/1/tensors/m.2.w"
	assert_errno ENOENT stat "$MNT/ranks/1/npy/m.2.w.npy"
	assert_errno ENOENT open-read "$MNT/ranks/1/modules/m/2/w"
	run ! grep -q 'm\.2\.w' <(ls "$MNT/ranks/1/tensors")
	assert_tensor "$T/m.2.w" m.2.w
	assert_tensor "$MNT/ranks/0/tensors/m.2.w" m.2.w
	assert_equal "$(claims "$T/m.2.w")" 2
	assert_equal "$(claims "$T/m.3.w")" 3
	assert_equal "$(stats_field consumed_tensors)" 0
	assert_equal "$(jq -c '.claims | map(.tensors)' "$MNT/.wload/stats.json")" '[12,11,12]'
	assert_equal "$(jq -c '[.rank, .ranks, .consumed_tensors, .consumed_bytes]' \
		"$MNT/ranks/1/.wload/stats.json")" '[1,3,1,1048578]'
	wl_umount "$MNT"
}

@test "ranks: names that were seen before go too, with and without the epoch" {
	for option in rw no_epoch; do
		rm -rf "$CKPT"
		ranks 2 -o "$option"
		find "$MNT" -ls >/dev/null
		cp "$T/m.1.w" "$BATS_TEST_TMPDIR/copy"
		exec 5<"$MNT/ranks/0/modules/m/1/w"
		rm "$MNT/ranks/0/npy/m.1.w.npy"
		assert_errno ENOENT stat "$MNT/ranks/0/tensors/m.1.w"
		assert_errno ENOENT stat "$MNT/ranks/0/modules/m/1/w"
		assert_equal "$(stat -c %s "$MNT/ranks/1/tensors/m.1.w")" 1048577
		assert_equal "$(stat -c %s "$T/m.1.w")" 1048577
		# Who has it open reads on (fstat() may fail there: no_epoch).
		run -0 python3 -c 'import os, sys
want = open(sys.argv[1], "rb").read()
print(os.pread(5, len(want) + 1, 0) == want)' "$BATS_TEST_TMPDIR/copy"
		assert_output True
		exec 5<&-
		rm "$MNT/ranks/1/tensors/m.1.w"
		assert_errno ENOENT stat "$T/m.1.w"
		wl_umount "$MNT"
	done
}

@test "ranks: pages stay until the last claim, and go with it" {
	require disk
	ranks 3
	cache_all
	before=$(pages)
	rm "$MNT/ranks/0/tensors/m.5.w"
	rm "$MNT/ranks/2/modules/m/5/w"
	assert_equal "$(pages)" "$before"
	rm "$MNT/ranks/1/npy/m.5.w.npy"
	assert [ "$(pages)" -le $((before - 1048576 + 8192)) ]
	assert_errno ENOENT stat "$T/m.5.w"
	wl_umount "$MNT"
}

@test "ranks: the last claim takes the pages of all trees' mappings, another only its own tree's" {
	ranks 2
	run -0 timeout 60 python3 - "$MNT" m.4.w <<-'PY'
		import mmap, os, sys
		mnt, name = sys.argv[1:]
		paths = [f"{mnt}/{tree}tensors/{name}" for tree in ("", "ranks/0/", "ranks/1/")]

		def rss(path):
		    total, ours = 0, False
		    for line in open("/proc/self/smaps"):
		        if line.split()[0].count("-") == 1:
		            ours = path in line.replace(" (deleted)", "").split()
		        elif ours and line.startswith("Rss:"):
		            total += int(line.split()[1])
		    return total

		def mapped(path):
		    with open(path, "rb") as file:
		        m = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
		    return m, bytes(m)

		maps = [mapped(path) for path in paths]
		for path in paths[1:]:
		    os.unlink(path)
		    print([rss(p) > 0 for p in paths], all(bytes(m) == want for m, want in maps[2:]))
	PY
	assert_output $'[True, False, True] True\n[False, False, False] True'
	wl_umount "$MNT"
}

@test "ranks: at the root every claim is dropped" {
	require disk
	ranks 3
	cache_all
	rm "$MNT/ranks/0/tensors/m.0.w"
	rm -r "$T"
	assert_equal "$(pages)" 0
	for rank in 0 1 2; do
		assert_equal "$(ls "$MNT/ranks/$rank/tensors")" ''
	done
	assert_equal "$(stats_field consumed_tensors)" 12
	wl_umount "$MNT"
}

@test "ranks: a rank's commands are its own" {
	ranks 2
	consume=$MNT/ranks/1/.wload/consume
	run -0 "$PROBE" control "$consume" 'prefix m.1\nkey m.2.w\n'
	assert_output $'1\n1'
	run -0 "$PROBE" control "$consume" 'all\n'
	assert_output 10
	assert_equal "$(count_files "$T")" 12
	assert_equal "$(grep -c '"consumed"' "$MNT/ranks/1/.wload/index.jsonl")" 12
	assert_equal "$(grep -c '"consumed"' "$MNT/.wload/index.jsonl")" 0
	run -0 "$PROBE" control "$MNT/ranks/0/.wload/consume" 'all\n'
	assert_output 12
	assert_equal "$(count_files "$T")" 0
	wl_umount "$MNT"
}

@test "ranks: restore brings back a rank's own claims, the root's all" {
	ranks 2
	control 'all\n'
	rm -r "$MNT/ranks/1/modules"
	run -0 "$PROBE" control "$MNT/ranks/1/.wload/consume" 'restore m.3\n'
	assert_output 1
	assert_tensor "$MNT/ranks/1/modules/m/3/w" m.3.w
	assert_tensor "$T/m.3.w" m.3.w
	assert_errno ENOENT stat "$MNT/ranks/0/tensors/m.3.w"
	assert_equal "$(claims "$T/m.3.w")" 1
	rm "$MNT/ranks/1/tensors/m.3.w"
	assert_errno ENOENT stat "$T/m.3.w"
	run -0 control 'restore\n'
	assert_output 12
	assert_equal "$(claims "$MNT/ranks/0/tensors/m.3.w")" 2
	wl_umount "$MNT"
}

# Eight consumers at once, each in an order of its own; the fourth dies half way. Nothing that it
# still claims is evicted, everything else is; then its claims are released.
@test "ranks: eight consume in different orders, one dies in the middle" {
	require disk
	seed=${SEED:-$RANDOM}
	echo "SEED=$seed"
	make_tensors "$CKPT" < <(for i in {0..63}; do echo "t.$i U8 $((300000 + 37 * i))"; done)
	cp "$CKPT/model.safetensors" "$BATS_TEST_TMPDIR/copy"
	wl_mount "$CKPT" "$MNT" -o ranks=8
	cache_all
	run -0 timeout 60 python3 "$BATS_TEST_DIRNAME/../tools/eight_ranks.py" "$MNT" "$SHARD" "$seed"
	assert_output released
	assert_equal "$(pages)" 0
	assert_equal "$(stats_field held_bytes)" 0
	run -0 cmp "$CKPT/model.safetensors" "$BATS_TEST_TMPDIR/copy"
	wl_umount "$MNT"
}

@test "ranks: a rank's tree is removed by everything that removes" {
	ranks 2
	run -0 find "$MNT/ranks/0/tensors" -type f -delete
	run -0 rm -r "$MNT/ranks/1/modules"
	assert_equal "$(stats_field consumed_tensors)" 12
	for path in ranks ranks/0; do
		assert_errno EPERM rmdir "$MNT/$path"
	done
	assert_errno EPERM unlink "$MNT/ranks/0/model.safetensors"
	assert_errno EROFS mkdir "$MNT/ranks/7"
	wl_umount "$MNT"
}
