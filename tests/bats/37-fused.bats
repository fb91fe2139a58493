#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# bats file_tags=mount
# fused/: the parameters of a plan as files, and consumption by them.

load helper

setup() {
	require fuse
	wl_paths
	F=$MNT/fused
	QKV=model.layers.0.self_attn.qkv_proj.weight
}

teardown() {
	wl_cleanup
}

# llama [OPTIONS…]: a mount of a small Llama.
llama() {
	make_tiny tiny-llama "$CKPT"
	wl_mount "$CKPT" "$MNT" "$@"
}

# shared: a mount where m.a.qkv.weight is what two parameters are made of.
shared() {
	make_tensors "$CKPT" <<-'END'
		m.a.q BF16 600,64
		m.a.qkv.weight BF16 1536,64
		m.b.weight U8 70000
	END
	echo '{"model_type": "x", "heads": 2, "v": 1}' >"$CKPT/config.json"
	cat >"$BATS_TEST_TMPDIR/rules.json" <<-'END'
		{"family": "x", "model_types": ["x"],
		 "packed": [{"module": "qkv", "within": "a", "parts": ["k", "v"], "shares": [2, "v"],
		             "each": "heads"}],
		 "fuse": [{"into": "qkv", "from": ["k", "v"], "within": "a"}],
		 "also": [{"into": "v_alone", "from": "v", "within": "a", "each": "heads"}]}
	END
	wl_mount "$CKPT" "$MNT" -o "rules=$BATS_TEST_TMPDIR/rules.json"
}

source_names() { getfattr --absolute-names --only-values -n user.wload.sources "$1"; }

pages() { fincore -nb -o RES "$CKPT/model.safetensors" | tr -d ' '; }

# What of a path is mapped and resident in a process, and whether it still reads what it did.
map_and_remove() {
	timeout 60 python3 - "$@" <<-'PY'
		import mmap, os, sys
		path, *gone = sys.argv[1:]

		def rss():
		    total, ours = 0, False
		    for line in open("/proc/self/smaps"):
		        if line.split()[0].count("-") == 1:
		            ours = path in line.replace(" (deleted)", "").split()
		        elif ours and line.startswith("Rss:"):
		            total += int(line.split()[1])
		    return total

		with open(path, "rb") as file:
		    m = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
		want = bytes(m)
		before = rss()
		for name in gone:
		    os.unlink(name)
		print(before > 0, rss(), bytes(m) == want)
	PY
}

@test "fused: holds what a load makes, byte for byte" {
	local layout up
	for layout in trtllm vllm; do
		rm -rf "$CKPT" "$BATS_TEST_TMPDIR/out"
		make_tiny tiny-qwen3-moe "$CKPT"
		wl_mount "$CKPT" "$MNT" -o "layout=$layout"
		"$WLOAD" load "$CKPT" --device host --quiet --layout "$layout" \
			--out "$BATS_TEST_TMPDIR/out"
		wl_mount "$BATS_TEST_TMPDIR/out" "$BATS_TEST_TMPDIR/loaded"
		run -0 diff -r "$F" "$BATS_TEST_TMPDIR/loaded/tensors"
		up=w3_w1
		[ $layout = trtllm ] || up=w13
		assert_equal "$(find "$F" -name "*experts.${up}_*" | wc -l)" 2
		wl_umount "$BATS_TEST_TMPDIR/loaded"
		wl_umount "$MNT"
	done
}

@test "fused: attributes say what a parameter is, and of what" {
	llama
	run -0 getfattr --absolute-names -d "$F/$QKV"
	assert_output --partial "user.wload.name=\"$QKV\""
	assert_output --partial 'user.wload.dtype="BF16"'
	assert_output --partial 'user.wload.shape="[512, 256]"'
	assert_output --partial 'user.wload.bytes="262144"'
	assert_output --partial 'user.wload.state="live"'
	assert_output --partial 'user.wload.transform="none"'
	run -0 source_names "$F/$QKV"
	assert_output "$(printf 'model.layers.0.self_attn.%s_proj.weight\n' q k v)"
	assert_equal "$(stat -c '%s %A %h' "$F/$QKV")" '262144 -rw-r--r-- 1'
	assert_errno ENODATA getxattr "$F/$QKV" user.wload.shard
	wl_umount "$MNT"
}

@test "fused: nothing can be made, changed or renamed" {
	llama
	assert_errno EROFS open-write "$F/$QKV"
	assert_errno EROFS mkdir "$F/x"
	assert_errno ENOENT stat "$F/model.layers.0.self_attn.q_proj.weight"
	assert_errno ENOENT stat "$F/nothing"
	assert_errno ENOTEMPTY rmdir "$F"
	wl_umount "$MNT"
}

@test "fused: of an architecture without rules each tensor is as it is" {
	make_tensors "$CKPT" < <(for i in {0..9}; do echo "t.$i U8 $((5000 + i))"; done)
	wl_mount "$CKPT" "$MNT"
	run -0 diff -r "$F" "$MNT/tensors"
	run -0 grep 'wloadfs: fused/: .*nothing is fused' "${WL_LOGS[$MNT]}"
	wl_umount "$MNT"
}

@test "fused: where the plan can't be built, listing and removing it fail" {
	make_tensors "$CKPT" <<-'END'
		m.a.k.weight BF16 4,64
		m.a.v.weight BF16 0,64
	END
	echo '{"model_type": "x", "heads": 2}' >"$CKPT/config.json"
	cat >"$BATS_TEST_TMPDIR/rules.json" <<-'END'
		{"family": "x", "model_types": ["x"],
		 "fuse": [{"into": "kv", "from": ["k", "v"], "within": "a"}],
		 "also": [{"into": "v_alone", "from": "v", "within": "a", "each": "heads"}]}
	END
	wl_mount "$CKPT" "$MNT" -o "rules=$BATS_TEST_TMPDIR/rules.json"
	run -2 ls "$F"
	assert_output --partial 'Input/output error'
	assert_errno EIO rmdir "$F"
	assert_dir_exists "$F"
	assert_equal "$(grep -c "wloadfs: fused/ can't be shown: .*no whole ones" \
		"${WL_LOGS[$MNT]}")" 1
	assert_tensor "$MNT/tensors/m.a.k.weight" m.a.k.weight
	wl_umount "$MNT"
}

@test "fused: where config.json can't be read it is absent, and the log says why" {
	make_tensors "$CKPT" <<<"t U8 100"
	echo '[1]' >"$CKPT/config.json"
	mkdir "$CKPT/fused"
	touch "$CKPT/fused/mine"
	wl_mount "$CKPT" "$MNT"
	assert_file_exists "$MNT/fused/mine"
	assert_equal "$(grep -c 'wloadfs: no fused/: .config.json. is not' "${WL_LOGS[$MNT]}")" 1
	assert_tensor "$MNT/tensors/t" t
	wl_umount "$MNT"
}

@test "fused: options that make no sense are refused" {
	make_tensors "$CKPT" <<<"t U8 100"
	run -2 "$WLOADFS" -o layout=x "$CKPT" "$MNT"
	assert_output --partial "layout='x' is neither 'trtllm' nor 'vllm'"
	run -2 "$WLOADFS" -o names=hf "$CKPT" "$MNT"
	assert_output --partial "names= is for ranks, and tp= is missing"
	run -2 "$WLOADFS" -o ep=2 "$CKPT" "$MNT"
	assert_output --partial "ep= is for ranks, and tp= is missing"
	run -2 "$WLOADFS" -o rules=/nowhere "$CKPT" "$MNT"
	assert_output --partial "rules='/nowhere': No such file or directory"
	echo '{' >"$BATS_TEST_TMPDIR/bad"
	run -1 "$WLOADFS" -o "rules=$BATS_TEST_TMPDIR/bad" "$CKPT" "$MNT"
	assert_output --partial "wloadfs: '$BATS_TEST_TMPDIR/bad'"
}

@test "fused: removing a parameter consumes its tensors, and no others" {
	require disk
	llama
	sync "$CKPT/model.safetensors"
	vmtouch -qt "$CKPT/model.safetensors"
	before=$(pages)
	rm "$F/$QKV"
	assert_errno ENOENT stat "$F/$QKV"
	for part in q k v; do
		assert_errno ENOENT stat "$MNT/tensors/model.layers.0.self_attn.${part}_proj.weight"
	done
	assert_equal "$(stats_field consumed_tensors) $(stats_field consumed_bytes)" '3 262144'
	assert [ "$(pages)" -le $((before - 262144 + 3 * 8192)) ]
	run ! grep -q "$QKV" <(ls "$F")
	assert_equal "$(count_files "$F")" 20
	wl_umount "$MNT"
}

@test "fused: a parameter whose tensor is consumed is gone, by every way of consuming" {
	local q=model.layers.0.self_attn.q_proj.weight
	llama
	ls -l "$F" >/dev/null
	cp "$F/$QKV" "$BATS_TEST_TMPDIR/copy"
	exec 5<"$F/$QKV"
	rm "$MNT/tensors/$q"
	assert_errno ENOENT stat "$F/$QKV"
	assert_errno ENOENT open-read "$F/$QKV"
	assert_errno ENOENT unlink "$F/$QKV"
	assert_equal "$(stats_field consumed_tensors)" 1
	# Who has it open reads on.
	run -0 python3 -c 'import os, sys
want = open(sys.argv[1], "rb").read()
print(os.pread(5, len(want) + 1, 0) == want)' "$BATS_TEST_TMPDIR/copy"
	assert_output True
	exec 5<&-
	control 'restore\n'
	assert_file_exists "$F/$QKV"
	control 'prefix model.layers.1\n'
	assert_equal "$(find "$F" -name '*layers.1.*')" ''
	control "key $q"'\n'
	assert_errno ENOENT stat "$F/$QKV"
	wl_umount "$MNT"
}

@test "fused: restoring brings back parameters with their tensors" {
	llama
	rm -r "$F"
	assert_errno ENOENT stat "$F"
	assert_equal "$(stats_field consumed_tensors)" 30
	run -0 control 'restore model.layers.0\n'
	assert_output 9
	assert_equal "$(count_files "$F")" 6
	run -0 control 'restore\n'
	assert_output 21
	assert_equal "$(count_files "$F")" 21
	wl_umount "$MNT"
}

@test "fused: a tensor of two parameters goes with the later one, in either order" {
	local first last
	for first in m.a.qkv.weight m.a.v_alone; do
		last=m.a.v_alone
		[ $first = m.a.qkv.weight ] || last=m.a.qkv.weight
		rm -rf "$CKPT"
		shared
		run -0 source_names "$F/$last"
		assert_output m.a.qkv.weight
		cp "$F/$last" "$BATS_TEST_TMPDIR/copy"
		rm "$F/$first"
		assert_errno ENOENT stat "$F/$first"
		assert_equal "$(stats_field consumed_tensors)" 0
		assert_file_exists "$MNT/tensors/m.a.qkv.weight"
		run -0 cmp "$F/$last" "$BATS_TEST_TMPDIR/copy"
		# Back, although no tensor of it had gone.
		control 'restore m.a\n'
		assert_file_exists "$F/$first"
		rm "$F/$first" "$F/$last"
		assert_errno ENOENT stat "$MNT/tensors/m.a.qkv.weight"
		assert_equal "$(stats_field consumed_tensors)" 1
		wl_umount "$MNT"
	done
}

@test "fused: what no parameter needs goes with the last one" {
	make_tiny tiny-llama-tied "$CKPT"
	wl_mount "$CKPT" "$MNT"
	tensors=$(stats_field tensors)
	find "$F" -type f | sort -r | head -n -1 | xargs rm
	assert [ "$(stats_field consumed_tensors)" -lt "$tensors" ]
	rm "$F"/*
	assert_equal "$(stats_field consumed_tensors)" "$tensors"
	rmdir "$F"
	wl_umount "$MNT"
}

@test "fused: a mapping loses its pages with the parameter, and reads on" {
	llama
	run -0 map_and_remove "$F/$QKV" "$F/$QKV"
	assert_output 'True 0 True'
	control 'restore\n'
	run -0 map_and_remove "$F/$QKV" "$MNT/tensors/model.layers.0.self_attn.k_proj.weight"
	assert_output 'True 0 True'
	wl_umount "$MNT"
}

@test "fused: all is removed, and no page of the shard is left" {
	require disk
	llama
	sync "$CKPT/model.safetensors"
	cat "$F"/* >/dev/null
	rm -r "$F"
	assert_equal "$(pages) $(stats_field held_bytes)" '0 0'
	wl_umount "$MNT"
}

@test "fused: with a budget and with consume=read the bytes are the same" {
	local option
	for option in budget=16M consume=read no_direct_mmap; do
		rm -rf "$CKPT"
		make_tiny tiny-llama "$CKPT"
		wl_mount "$CKPT" "$MNT"
		rm -rf "$BATS_TEST_TMPDIR/copy"
		cp -r "$F" "$BATS_TEST_TMPDIR/copy"
		wl_umount "$MNT"
		wl_mount "$CKPT" "$MNT" -o "$option"
		run -0 diff -r "$F" "$BATS_TEST_TMPDIR/copy"
		run -0 map_and_remove "$F/$QKV" "$F/$QKV"
		assert_output 'True 0 True'
		rm -r "$F"
		assert_equal "$(stats_field consumed_tensors)" 30
		wl_umount "$MNT"
	done
}

@test "fused: ranks without tp have the whole, and their own claims" {
	llama -o ranks=2
	run -0 diff -r "$F" "$MNT/ranks/1/fused"
	rm "$MNT/ranks/0/fused/$QKV"
	assert_errno ENOENT stat "$MNT/ranks/0/tensors/model.layers.0.self_attn.q_proj.weight"
	assert_file_exists "$F/$QKV"
	assert_file_exists "$MNT/ranks/1/fused/$QKV"
	assert_equal "$(stats_field consumed_tensors)" 0
	rm "$MNT/ranks/1/fused/$QKV"
	assert_errno ENOENT stat "$F/$QKV"
	assert_equal "$(stats_field consumed_tensors)" 3
	wl_umount "$MNT"
}

@test "fused: a trace sees what is read and consumed by it" {
	llama -o trace
	cat "$F/$QKV" >/dev/null
	rm "$F/$QKV"
	run -0 jq -r '[.event, .file // .tensor, .by // ""] | join(" ")' \
		<(tail -n +2 "$MNT/.wload/trace")
	assert_line "open fused/$QKV "
	assert_line "read fused/$QKV "
	assert_line 'consume model.layers.0.self_attn.q_proj.weight unlink'
	assert_equal "$(jq -c '.consumed_unread' "$MNT/.wload/trace-summary.json")" '[]'
	assert_equal "$(jq -c '.never_read | length' "$MNT/.wload/trace-summary.json")" 27
	wl_umount "$MNT"
}

# Readers of all parameters, in orders of their own, while another removes them.
@test "fused: readers at once with consumption see right bytes or nothing" {
	llama
	cp -r "$F" "$BATS_TEST_TMPDIR/copy"
	run -0 timeout 60 python3 - "$F" "$BATS_TEST_TMPDIR/copy" <<-'PY'
		import os, random, sys, threading
		mnt, copy = sys.argv[1:]
		names, wrong, read = sorted(os.listdir(copy)), [], [0]
		want = {n: open(f"{copy}/{n}", "rb").read() for n in names}

		def reader(seed):
		    order = names[:]
		    for _ in range(3):
		        random.Random(seed).shuffle(order)
		        for name in order:
		            try:
		                with open(f"{mnt}/{name}", "rb", 0) as file:
		                    got = b"".join(iter(lambda: file.read(50000), b""))
		            except FileNotFoundError:
		                continue
		            read[0] += 1
		            if got != want[name]:
		                wrong.append(name)

		threads = [threading.Thread(target=reader, args=(i,)) for i in range(6)]
		for t in threads:
		    t.start()
		for name in random.Random(7).sample(names, len(names)):
		    os.unlink(f"{mnt}/{name}")
		for t in threads:
		    t.join()
		print(wrong, os.listdir(mnt), read[0] > 0)
	PY
	assert_output '[] [] True'
	assert_equal "$(stats_field consumed_tensors)" 30
	wl_umount "$MNT"
}
