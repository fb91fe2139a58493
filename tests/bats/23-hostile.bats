#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount,fault
# What clients, and checkpoints, do that nobody asked for.

load helper

setup() {
	require fuse
	wl_paths
	T=$MNT/tensors
	SHARD=$CKPT/model.safetensors
	STORM=$WL_ROOT/tests/tools/storm.py
}

teardown() {
	[ -z "${CLIENT-}" ] || kill "$CLIENT" 2>/dev/null || true
	wl_cleanup
}

# A checkpoint of 20 tensors of 1 MiB, mounted.
mount_twenty() {
	for i in $(seq 20); do echo "m.$i.w F32 1024,256"; done | make_tensors "$CKPT"
	sync -f "$CKPT"
	wl_mount "$CKPT" "$MNT" "$@"
}

cached() { fincore -nb -o RES "$SHARD" | tr -d ' '; }

@test "signal: SIGTERM while tensors are mapped, removed and restored ends the mount, with 0" {
	for option in -omax_threads=2 -s -ono_direct_mmap -oshards=served; do
		rm -rf "$CKPT"
		mount_twenty "$option"
		"$STORM" "$MNT" 20 3>&- &
		CLIENT=$!
		wait_until "[ \"\$(stats_field evicted_bytes)\" -gt 0 ]"
		kill -TERM "${WL_PIDS[$MNT]}"
		wl_ended "$MNT"
		wait "$CLIENT"
	done
}

@test "held: what a mapped shard kept is dropped once it is unmapped, without anybody asking" {
	mount_twenty
	cat "$SHARD" >/dev/null
	python3 - "$MNT" >"$BATS_TEST_TMPDIR/said" 3>&- <<-'PY' &
		import mmap, os, signal, sys
		fd = os.open(sys.argv[1] + "/model.safetensors", os.O_RDONLY)
		mapped = mmap.mmap(fd, 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED)
		sum(mapped[i] for i in range(0, len(mapped), 4096))
		print("mapped", flush=True)
		signal.pause()
	PY
	CLIENT=$!
	wait_until "grep -q mapped '$BATS_TEST_TMPDIR/said'"
	rm "$T"/m.1?.w
	assert [ "$(stats_field held_bytes)" -gt 0 ]
	wait_until "[ \"\$(stats_field held_bytes)\" -ge $((9 << 20)) ]"
	assert [ "$(stats_field held_bytes)" -le $((10 << 20)) ]
	kill "$CLIENT"
	wait_until "[ \"\$(stats_field held_bytes)\" = 0 ]"
	assert [ "$(cached)" -le $((10 * (1 << 20) + 4096 * 12)) ]
	wl_umount "$MNT"
}

@test "open: O_TRUNC is refused, and takes nothing from those who map the file" {
	mount_twenty
	for file in "$T/m.3.w" "$MNT/npy/m.3.w.npy" "$MNT/model.safetensors" "$MNT/.wload/stats.json"; do
		run -0 python3 - "$file" <<-'PY'
			import errno, os, sys
			fd = os.open(sys.argv[1], os.O_RDONLY)
			want = os.pread(fd, 64, 100)
			try:
			    os.open(sys.argv[1], os.O_RDONLY | os.O_TRUNC)
			    print("opened")
			except OSError as e:
			    print(errno.errorcode[e.errno])
			assert os.pread(fd, 64, 100) == want
		PY
		assert_output --regexp 'EROFS|EACCES'
	done
	wl_umount "$MNT"
}

@test "restore: a folder that somebody held while it was removed comes back whole" {
	mount_twenty
	for folder in tensors modules modules/m/1; do
		exec {held}<"$MNT/$folder"
		run -0 control 'all\n'
		find "$MNT/modules" -mindepth 1 -depth -type d -exec rmdir {} +
		rmdir "$MNT/tensors" "$MNT/modules"
		run -0 control 'restore\n'
		exec {held}<&-
		assert_equal "$(count_files "$T")" 20
		assert_equal "$(count_files "$MNT/modules")" 20
	done
	wl_umount "$MNT"
}

@test "mount: over the checkpoint itself, links that lead back into it are what they led to" {
	make_tiny tiny-llama "$CKPT"
	ln -s "$CKPT/config.json" "$CKPT/alias.json"
	mkdir "$CKPT/sub"
	ln -s "$CKPT/sub" "$CKPT/loop"
	cp "$CKPT/config.json" "$CKPT/sub/inner.json"
	want=$(sha256sum <"$CKPT/config.json")
	for option in -s -omax_threads=4; do
		wl_mount "$CKPT" "$CKPT" "$option"
		for file in alias.json config.json sub/inner.json loop/inner.json; do
			assert_equal "$(timeout 10 sha256sum <"$CKPT/$file")" "$want"
			timeout 10 stat "$CKPT/$file" >/dev/null
		done
		wl_umount "$CKPT"
	done
}

@test "own files: one that is edited shows its new bytes, size and time" {
	for option in -oshards=auto -oshards=served,no_direct_mmap; do
		rm -rf "$CKPT"
		make_tiny tiny-llama "$CKPT"
		wl_mount "$CKPT" "$MNT" "$option"
		cat "$MNT/config.json" >/dev/null
		echo '{"edited": 1234567}' >"$CKPT/config.json"
		touch -d '2001-02-03 04:05:06 UTC' "$CKPT/config.json"
		wait_until "cmp -s '$CKPT/config.json' '$MNT/config.json'"
		wait_until "[ \"\$(stat -c '%s %Y' '$MNT/config.json')\" = \"\$(stat -c '%s %Y' '$CKPT/config.json')\" ]"
		wl_umount "$MNT"
	done
}

@test "own files: a shard that was cut or rewritten is ESTALE, as its tensors are" {
	mount_twenty
	truncate -s 1000000 "$SHARD"
	assert_errno ESTALE open-read "$MNT/model.safetensors"
	assert_errno ESTALE open-read "$T/m.1.w"
	wl_umount "$MNT"
}

@test "allow_other: nobody sees more than in the checkpoint's own folders" {
	require root
	make_tiny tiny-llama "$CKPT"
	mkdir -m 700 "$CKPT/private"
	echo key >"$CKPT/private/key.txt"
	chmod 644 "$CKPT/private/key.txt"
	echo secret >"$CKPT/secret.txt"
	chmod 600 "$CKPT/secret.txt"
	chmod 755 "$CKPT"
	chmod 711 "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" "$BATS_TEST_TMPDIR"
	wl_mount "$CKPT" "$MNT" -o allow_other
	other=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	run -1 "${other[@]}" cat "$MNT/private/key.txt"
	run -1 "${other[@]}" cat "$MNT/secret.txt"
	run -0 "${other[@]}" cat "$MNT/config.json"
	run -1 "${other[@]}" rm -f "$T/model.norm.weight"
	assert_exists "$T/model.norm.weight"
	wl_umount "$MNT"
}

@test "background: a start that fails leaves what was mounted there before" {
	require root
	make_tiny tiny-llama "$CKPT"
	mount -t tmpfs none "$MNT"
	touch "$MNT/mine"
	for option in -obogus -omax_read=4096 -osubtype=x; do
		run -2 "$WLOADFS" "$option" "$CKPT" "$MNT"
		assert_equal "$(wc -l <<<"$output")" 1
		assert_exists "$MNT/mine"
	done
	run -1 "$WLOADFS" "$CKPT/none" "$MNT"
	assert_exists "$MNT/mine"
	umount "$MNT"
}

@test "usage: a wrong value is named with its bound" {
	for value in abc 0 -1 4294967298 ''; do
		run -2 "$WLOADFS" -o "max_threads=$value" "$CKPT" "$MNT"
		assert_output --partial "max_threads='$value' is not a number from 1 to 1024"
	done
	run -2 "$WLOADFS" -o shards=fast "$CKPT" "$MNT"
	assert_output --partial "shards='fast' is none of 'auto', 'passthrough', 'served'"
}

@test "stats: the mode of shards is what the kernel granted, before the first open too" {
	require root
	mount_twenty
	mode=$(jq -r .shards.mode "$MNT/.wload/stats.json")
	cat "$MNT/model.safetensors" >/dev/null
	assert_equal "$(jq -r .shards.mode "$MNT/.wload/stats.json")" "$mode"
	if [ "$mode" = passthrough ]; then
		assert_equal "$(jq -r .shards.passthrough_opens "$MNT/.wload/stats.json")" 1
		assert_equal "$(stats_field served_bytes)" 0
	fi
	wl_umount "$MNT"
}

@test "stats: valid JSON for a path that is not UTF-8" {
	CKPT=$BATS_TEST_TMPDIR/$'odd\xff "path"'
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT" "$MNT"
	run -0 python3 -c 'import json, sys
for p in sys.argv[1:]: [json.loads(l) for l in open(p, encoding="utf-8").read().splitlines()] if p.endswith("l") else json.load(open(p, encoding="utf-8"))' \
		"$MNT/.wload/stats.json" "$MNT/.wload/index.jsonl"
	wl_umount "$MNT"
}
