#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# wload on plain checkpoints: usage, listing, plans, loads to host memory and to nowhere; that a plain
# folder is never consumed from; what a result that cannot be written costs.

# shellcheck disable=SC2154,SC2016 # run sets stderr; quoted conditions and jq programs
load helper

setup() {
	wl_paths
	cd "$BATS_TEST_TMPDIR" || return
}

# assert_usage LINE ARGS…: exit 2 and one line that says exactly this.
assert_usage() {
	local want=$1
	shift
	run --separate-stderr -2 "$WLOAD" "$@"
	assert_equal "$stderr" "wload: $want"
	assert_output ''
}

# A sum of everything in a folder: contents, names, modes, times.
state_of() { (cd "$1" && find . -printf '%p %s %m %T@ %n\n' | sort && find . -type f -exec sha256sum {} + | sort); }

# ---- usage -----------------------------------------------------------------------------------

@test "usage: nothing, or a wrong word, is one line and exit 2" {
	assert_usage "PATH is missing; see 'wload --help'"
	assert_usage "load: PATH is missing; see 'wload load --help'" load
	assert_usage "load: PATH is missing; see 'wload load --help'" --json
	assert_usage "unknown option '--frobnicate'" ls . --frobnicate
	assert_usage "unexpected argument 'b'" plan a b
	assert_usage "--device: 'gpu' is none of auto, cuda, cuda:N, host, null" a --device gpu
	assert_usage "--threads: '0' is not a number from 1 to 512" a --threads=0
	assert_usage "--staging: '1Q' is not a size from 131072 to 68719476736" a --staging 1Q
	assert_usage "--tp: '0' is not a number from 1 to 1024" plan a --tp 0
	assert_usage "--rank: 2 is not below --tp, which is 2" plan a --tp 2 --rank 2
	assert_usage "--rank: 1 is not below --tp, which is 1" a --rank=1
	assert_usage "--ep: 2 is no divisor of --tp, which is 1" a --ep 2
	assert_usage "--ep: 3 is no divisor of --tp, which is 4" plan a --tp 4 --ep=3
	assert_usage "--layout: 'sglang' is none of trtllm|vllm" plan a --layout sglang
	assert_usage "--out: the value is missing, want DIR" load a --out
	assert_usage "--verify: --device null keeps nothing to compare" a --device null --verify
	assert_usage "--out: --device null keeps nothing to write" a --device=null --out b
	assert_usage "consume: nothing is named; want one of PREFIX, --key NAME, --all" consume a
	assert_usage "consume: too much is named; want one of PREFIX, --key NAME, --all" \
		consume a model --all
}

@test "usage: every command has help on stdout" {
	run -0 "$WLOAD" --help
	for command in load plan ls consume restore stats; do
		run -0 --separate-stderr "$WLOAD" "$command" --help
		assert_output --partial "$command"
		assert_output --partial '--help'
		assert_equal "$stderr" ''
	done
}

@test "usage: a command's name wins over a folder of that name" {
	make_tiny tiny-llama "$BATS_TEST_TMPDIR/plan"
	assert_usage "plan: PATH is missing; see 'wload plan --help'" plan
	run -0 "$WLOAD" ./plan --device null --quiet
}

@test "errors: a path that is not there, and a folder without shards" {
	run --separate-stderr -1 "$WLOAD" "$CKPT/none" --device host
	assert_equal "${#stderr_lines[@]}" 1
	assert_regex "$stderr" "none'"
	mkdir empty
	for command in load ls plan; do
		run --separate-stderr -1 "$WLOAD" "$command" empty
		assert_equal "${#stderr_lines[@]}" 1
	done
}

@test "errors: control bytes of a path do not reach the terminal" {
	run --separate-stderr -1 "$WLOAD" ls $'a\e[31m\nb'
	assert_equal "${#stderr_lines[@]}" 1
	refute_regex "$stderr" $'\e'
}

# ---- ls and plan -----------------------------------------------------------------------------

@test "ls: names in bytewise order, as many as the checkpoint has" {
	make_tiny tiny-llama "$CKPT"
	"$WLOAD" ls "$CKPT" >names
	LC_ALL=C sort -c names
	run -0 "$CHECK_STAMPS" "$CKPT"
	assert_output --regexp "^$(wc -l <names) tensors"
}

@test "ls: JSON and columns tell the same" {
	make_tensors "$CKPT" <<<$'b U8 3\na BF16 2,5\n"c\\u001b[2J\\n" F32'
	"$WLOAD" ls --json "$CKPT" >list.json
	run -0 jq -r '.[] | [.name, .dtype, (.shape | tojson), .bytes, .shard] | @json' list.json
	assert_line --index 0 '["a","BF16","[2,5]",20,"model.safetensors"]'
	assert_line --index 1 '["b","U8","[3]",3,"model.safetensors"]'
	assert_line --index 2 '["c\u001b[2J\n","F32","[]",4,"model.safetensors"]'
	run -0 jq 'map(has("state")) | any' list.json
	assert_output false
	run -0 "$WLOAD" ls -l "$CKPT"
	assert_equal "${#lines[@]}" 3
	assert_line --index 0 --regexp '^BF16 +\[2,5\] +20 +model.safetensors  a$'
	assert_line --index 2 --regexp 'c\\x1b\[2J\\x0a$'
}

@test "ls: one file is a checkpoint too" {
	make_tiny tiny-llama "$CKPT"
	diff <("$WLOAD" ls "$CKPT/model.safetensors") <("$WLOAD" ls "$CKPT")
}

@test "plan: fuses a Llama, as a table and as JSON" {
	make_tiny tiny-llama "$CKPT"
	run -0 "$WLOAD" plan "$CKPT"
	assert_output --partial 'self_attn.qkv_proj.weight'
	"$WLOAD" plan --json "$CKPT" >plan.json
	run -0 jq -r '.family, (.parameters[] | select(.name == "model.layers.0.mlp.gate_up_proj.weight")
		| .sources[].tensor)' plan.json
	assert_line --index 0 llama
	assert_line --index 1 model.layers.0.mlp.gate_proj.weight
	assert_line --index 2 model.layers.0.mlp.up_proj.weight
}

@test "plan: a rules file takes the place of the built-in ones" {
	make_tiny tiny-llama "$CKPT"
	echo '{"family": "mine", "model_types": ["x"], "fuse": [
		{"into": "kv", "from": ["k_proj", "v_proj"], "within": "self_attn"}]}' >mine.json
	run -0 "$WLOAD" plan "$CKPT" --rules mine.json
	assert_output --partial 'self_attn.kv.weight'
	refute_output --partial 'qkv_proj'
	echo '{"family": 7}' >broken.json
	run --separate-stderr -1 "$WLOAD" plan "$CKPT" --rules broken.json
	assert_regex "$stderr" 'broken.json'
	run --separate-stderr -1 "$WLOAD" plan "$CKPT" --rules /dev/zero
	assert_equal "$stderr" "wload: '/dev/zero' has more than 65536 bytes"
}

@test "plan: one rank of several has its share of each source" {
	make_tiny tiny-llama "$CKPT"
	run -0 "$WLOAD" plan "$CKPT" --tp 8 --rank 3
	assert_line --regexp 'mlp.down_proj.weight +at 0 +44032  from 516, 256 pieces, one every 1376$'
	assert_line --partial 'family llama, rank 3 of 8: '
	"$WLOAD" plan --json "$CKPT" --tp=8 --rank=3 >plan.json
	# 8 heads and 4 for keys and values, of 32 rows of 512 bytes each
	run -0 jq -c '.tp, .rank, (.parameters[] | select(.name == "model.layers.1.self_attn.qkv_proj.weight")
		| .shape, (.sources[] | [.src_offset, .rows, .src_stride, .dst_offset, .bytes]))' plan.json
	assert_output "8
3
[96,256]
[49152,1,0,0,16384]
[16384,1,0,16384,16384]
[16384,1,0,32768,16384]"
	whole=$("$WLOAD" plan --json "$CKPT" | jq .bytes)
	run -0 jq --argjson whole "$whole" '.bytes > $whole / 8 and .bytes < $whole / 6' plan.json
	assert_output true
}

@test "plan: experts are stacked, and shared out among ranks" {
	make_tiny tiny-deepseek-fp4 "$CKPT"
	run -0 "$WLOAD" plan "$CKPT" --tp 4 --rank 1 --ep 2
	assert_line --regexp 'mlp.experts.w3_w1_weight +U8 +\[2,384,32\] +24576$'
	assert_line --regexp '^  model.layers.1.mlp.experts.2.up_proj.weight +at 0 +6144  from 0$'
	assert_line --regexp '^family deepseek, rank 1 of 4, ep 2: .* 0 unused, 24 of other ranks only$'
	run -0 "$WLOAD" plan "$CKPT" --layout vllm
	assert_line --regexp 'mlp.experts.w13_weight +U8 +\[4,768,32\] +98304$'
	assert_line --regexp '^  and 4 more$'
	assert_line --regexp '^family deepseek, layout vllm: '
	run --separate-stderr -1 "$WLOAD" plan "$CKPT" --tp 8 --ep 8
	assert_regex "$stderr" "'model.layers.1.mlp.experts.w[^']*' has dimension 0 of 4: experts, of which ep 8"
}

@test "plan: experts in one tensor are stacked, with the names of what is done to them" {
	make_tiny tiny-llama4 "$CKPT"
	run -0 "$WLOAD" plan "$CKPT" --tp 2 --rank 1
	assert_line --regexp 'feed_forward.experts.w3_w1_weight +BF16 +\[4,100,64\] +51200  transpose$'
	assert_line --regexp '^vision_model.model.layers.0.self_attn.q_proj.weight +BF16 +\[48,48\] '
	assert_line --regexp '^family llama4, rank 1 of 2: .* 0 unused$'
}

@test "plan: --names hf is a rank's part of each tensor, by its own name" {
	make_tiny tiny-phi3 "$CKPT"
	"$WLOAD" plan "$CKPT" --names hf --tp 2 --rank 1 --json >plan.json
	# 24 heads of 8 rows each for queries, keys and values: a rank has half of each
	run -0 jq -c '.parameters[] | select(.name == "model.layers.0.self_attn.qkv_proj.weight")
		| .shape, (.sources[] | [.src_offset, .bytes])' plan.json
	assert_output "[288,64]
[12288,12288]
[36864,12288]
[61440,12288]"
	diff <("$WLOAD" plan "$CKPT" --names hf --json | jq -r '.parameters[].name' | LC_ALL=C sort) \
		<("$WLOAD" ls "$CKPT" --json | jq -r '.[].name' | LC_ALL=C sort)
}

@test "plan: what is quantised is dequantised, swizzled or cast, where it is wanted" {
	make_tiny tiny-deepseek-fp4 "$CKPT"
	run -0 "$WLOAD" plan "$CKPT"
	assert_line --regexp 'mlp.experts.w3_w1_input_scale +F32 +\[\] +4  max$'
	assert_line --regexp 'layers.0.mlp.gate_up_proj.weight_scale_2 +F32 +\[\] +4  equal$'
	run -0 "$WLOAD" plan "$CKPT" --swizzle
	assert_line --regexp 'mlp.experts.w3_w1_weight_scale +F8_E4M3 +\[4,768,4\] +12288  swizzle$'
	run -0 "$WLOAD" plan "$CKPT" --dequantise --dtype f32
	assert_line --regexp 'mlp.experts.w3_w1_weight +F32 +\[4,768,[0-9]+\] +[0-9]+  dequantise$'
	assert_line --regexp 'e_score_correction_bias +F32 +\[4\] +16$'
	assert_line --regexp 'norm.weight +F32 +\[[0-9]+\] +[0-9]+  cast$'
	assert_line --regexp '^unused: .*input_scale$'
	refute_line --regexp '^[^ ].*weight_scale_2'
	run --separate-stderr -2 "$WLOAD" plan "$CKPT" --dtype f8
	assert_equal "$stderr" "wload: --dtype: 'f8' is none of bf16|f16|f32"
	for command in plan "load --device host"; do
		# shellcheck disable=SC2086 # words
		run --separate-stderr -1 "$WLOAD" $command "$CKPT" --dequantise --swizzle
		assert_equal "$stderr" \
			"wload: dequantise leaves no block scales that swizzle could lay out"
	done
	make_tensors "$CKPT.odd" <<<'x.weight F8_E4M3 2,2'
	run --separate-stderr -1 "$WLOAD" plan "$CKPT.odd" --dequantise
	assert_equal "$stderr" "wload: 'x.weight' can't be dequantised: it has no scale beside it"
}

# The example of wload-rules(5), from its text.
@test "plan: the man page's rules of one's own work" {
	sed -n '/architecture of one.s own/,/^\.Ed/p' "$WL_ROOT/loader/plan/wload-rules.5" |
		sed -n '/^{/,/^}/p' >generic.json
	make_tensors "$CKPT" <<-'END'
		tok_embeddings.weight F32 6,4
		l.0.attn.wq.weight F32 8,4
		l.0.attn.wk.weight F32 4,4
		l.0.attn.wv.weight F32 4,4
		l.0.attn.wo.weight F32 4,8
		l.0.ffn.router.weight F32 2,4
		l.0.ffn.experts.0.w1.weight F32 6,4
		l.0.ffn.experts.0.w2.weight F32 4,6
		l.0.ffn.experts.0.w3.weight F32 6,4
		l.0.ffn.experts.1.w1.weight F32 6,4
		l.0.ffn.experts.1.w2.weight F32 4,6
		l.0.ffn.experts.1.w3.weight F32 6,4
		output.weight F32 6,4
	END
	echo '{"model_type": "my_model", "num_attention_heads": 4, "num_key_value_heads": 2}' >"$CKPT/config.json"
	"$WLOAD" plan "$CKPT" --rules generic.json --json --tp 2 --rank 1 >plan.json
	run -0 jq -c '.family, .note, (.parameters[] | [.name, .shape])' plan.json
	assert_line '"generic"'
	assert_line null
	assert_line '["l.0.attn.wqkv.weight",[8,4]]'
	assert_line '["l.0.ffn.experts.up_weight",[2,6,4]]'
	assert_line '["l.0.ffn.experts.down_weight",[2,4,3]]'
	assert_line '["output.weight",[3,4]]'
}

@test "plan: what can't be split is one line that names it, and nothing is written" {
	make_tiny tiny-llama "$CKPT"
	for command in plan 'load --device host --out out'; do
		# shellcheck disable=SC2086
		run --separate-stderr -1 "$WLOAD" $command "$CKPT" --tp 3 --rank 2
		assert_equal "$stderr" "wload: rank 2 of 3: tensor 'model.layers.0.self_attn.q_proj.weight' has \
dimension 0 of 256: 8 heads ('num_attention_heads'), of which 3 is no divisor"
	done
	assert_not_exists out
	echo '{"family": "mine", "model_types": ["x"]}' >mine.json
	run --separate-stderr -1 "$WLOAD" plan "$CKPT" --tp 2 --rules mine.json
	assert_equal "$stderr" "wload: the rules of 'mine' have no 'split', so what rank 0 of 2 has is unknown"
	sed -i 's/"model_type": "llama"/"model_type": "wavenet"/' "$CKPT/config.json"
	run --separate-stderr -1 "$WLOAD" plan "$CKPT" --tp 2
	assert_equal "$stderr" "wload: no rules for model type 'wavenet', so what rank 0 of 2 has is unknown"
}

@test "plan: rules of one's own split by other words" {
	make_tensors "$CKPT" <<<$'m.0.up.weight F32 6,4\nm.0.gate.weight F32 4,4\nm.0.up.scale F32 6'
	echo '{"family": "mine", "model_types": ["x"], "split": [
		{"modules": ["up"], "along": "column", "leaves": ["weight", "scale"]},
		{"modules": ["gate"], "along": "whole"}]}' >mine.json
	"$WLOAD" "$CKPT" --rules mine.json --tp 4 --rank 2 --device host --quiet --verify --out out
	run -0 "$WLOAD" ls --json out
	run -0 jq -c '.[] | [.name, .shape]' <<<"$output"
	assert_output '["m.0.gate.weight",[4,4]]
["m.0.up.scale",[2]]
["m.0.up.weight",[2,4]]'
}

@test "warnings: load, plan and ls tell what they did without" {
	make_tiny tiny-llama "$CKPT"
	rm "$CKPT/config.json"
	mkdir "$CKPT/config.json"
	for args in 'load --device null' plan ls; do
		# shellcheck disable=SC2086
		run -0 --separate-stderr "$WLOAD" $args "$CKPT"
		assert_regex "${stderr_lines[0]}${stderr_lines[1]}" \
			"wload: warning: 'config.json' is not a regular file, going on without it"
	done
	run -0 --separate-stderr "$WLOAD" "$CKPT" --device null --quiet --json
	assert_equal "$stderr" ''
	assert_output --partial '"no config.json could be read, so nothing is fused"'
}

# ---- load ------------------------------------------------------------------------------------

@test "load: the report is one JSON object with every member" {
	make_tiny tiny-llama "$CKPT"
	for device in host null; do
		"$WLOAD" "$CKPT" --device "$device" --json --quiet >report.json 2>stderr
		assert_size_zero stderr
		python3 -m json.tool report.json >/dev/null
		run -0 jq -r --arg device "$device" '(.device == $device)
			and (.mount | not) and (.tensors > 0) and (.parameters < .tensors)
			and (.bytes_read >= .bytes_uploaded) and (.bytes_uploaded > 0)
			and (.seconds > 0) and (.bytes_per_second > 0) and (.peak_host_bytes > 0)
			and (.consumed_tensors == 0) and (.consumed_bytes == 0)
			and (.unused | length) == .unused_tensors
			and has("family") and has("note") and has("bytes_verified")' report.json
		assert_output true
	done
}

@test "load: says on a plain folder that nothing was consumed, and touches nothing" {
	make_tiny tiny-llama "$CKPT"
	mkdir -p "$CKPT/tensors" "$CKPT/.wload"
	echo keep >"$CKPT/tensors/lm_head.weight"
	echo keep >"$CKPT/.wload/consume"
	before=$(state_of "$CKPT")
	run -0 --separate-stderr "$WLOAD" "$CKPT" --device host --verify
	assert_output --partial "nothing: '$CKPT' is not a wloadfs mount"
	assert_equal "$(state_of "$CKPT")" "$before"
}

@test "load: progress is lines on stderr where there is no terminal" {
	make_tiny tiny-llama "$CKPT"
	run -0 --separate-stderr "$WLOAD" load "$CKPT" --device host
	assert_regex "${stderr_lines[-1]}" '^wload: 100%, .* of .*/s, host .* left$'
	refute_regex "$stderr" $'\r'
	run -0 --separate-stderr "$WLOAD" load "$CKPT" --device host --quiet
	assert_equal "$stderr$output" ''
}

@test "load: progress is a bar on a terminal, which is gone at the end" {
	command -v script >/dev/null || skip "no script(1) here"
	make_tiny tiny-llama "$CKPT"
	TERM=xterm script -qec "'$WLOAD' '$CKPT' --device host" /dev/null >typescript
	run -0 cat typescript
	assert_output --partial $'\r\e[Kloaded'
	run -0 grep -c '%' typescript
	TERM=dumb script -qec "'$WLOAD' '$CKPT' --device host" /dev/null >typescript
	run -1 grep -c $'\e' typescript
}

@test "load: what --out writes is the plan's checkpoint" {
	make_tiny tiny-llama "$CKPT"
	"$WLOAD" "$CKPT" --device host --quiet --verify --out out
	run -0 ls -A out
	refute_output --partial partial
	diff <("$WLOAD" ls out) \
		<("$WLOAD" plan --json "$CKPT" | jq -r '.parameters[].name' | LC_ALL=C sort)
	run --separate-stderr -1 "$WLOAD" "$CKPT" --device host --out out
	assert_regex "$stderr" "already holds a checkpoint"
}

@test "load: pieces of long rows, longer than any buffer too, are verified and written" {
	make_tensors "$CKPT" <<<$'l.mlp.down_proj.weight U8 3,200001\nm.mlp.down_proj.weight U8 2,4400003'
	echo '{"model_type": "llama"}' >"$CKPT/config.json"
	for rank in 0 1; do
		"$WLOAD" "$CKPT" --device host --quiet --verify --staging 128K --tp 2 --rank "$rank" --out "$rank"
		run -0 python3 "$WL_ROOT/tests/oracles/plan_oracle.py" "$CKPT" "$rank" 2 "$rank"
	done
	run -0 python3 "$WL_ROOT/tests/oracles/plan_oracle.py" --rebuild "$CKPT" 0 1
}

@test "load: an interrupt with --out leaves no file, and is seen by the shell" {
	"$MAKE_CHECKPOINT" --quiet --jobs 1 --family llama-3.1-70b --layers 2 --sparse "$CKPT"
	for signal in INT TERM; do
		env --default-signal=INT "$WLOAD" "$CKPT" --device host --release --threads 1 \
			--staging 128K --quiet --out out 3>&- &
		pid=$!
		wait_until '[ -n "$(ls -A out 2>/dev/null)" ]'
		kill -s "$signal" "$pid"
		rc=0
		wait "$pid" || rc=$?
		assert_equal "$rc" $((128 + $(kill -l "$signal")))
		assert_not_exists out
	done
}

# ---- consume, restore, stats -----------------------------------------------------------------

@test "consume: refuses what is not a mount, and touches nothing" {
	make_tiny tiny-llama "$CKPT"
	mkdir -p "$CKPT/tensors" "$CKPT/.wload"
	echo keep >"$CKPT/tensors/lm_head.weight"
	echo keep >"$CKPT/.wload/consume"
	before=$(state_of "$CKPT")
	for what in 'consume --all' 'consume --key lm_head.weight' 'consume model' restore stats; do
		# shellcheck disable=SC2086
		set -- $what
		command=$1
		shift
		run --separate-stderr -1 "$WLOAD" "$command" "$CKPT" "$@"
		assert_equal "$stderr" "wload: '$CKPT' is not a wloadfs mount"
		assert_output ''
	done
	assert_equal "$(state_of "$CKPT")" "$before"
}

# ---- stdout ----------------------------------------------------------------------------------

@test "stdout: full or closed is a failure" {
	make_tiny tiny-llama "$CKPT"
	for args in "ls $CKPT" "ls --json $CKPT" "plan $CKPT" "plan --json $CKPT" --help --version \
		"$CKPT --device host" "$CKPT --device host --json"; do
		# shellcheck disable=SC2086
		set -- $args
		rc=0
		"$WLOAD" "$@" >/dev/full 2>stderr || rc=$?
		assert_equal "$rc" 1
		run -0 cat stderr
		assert_output --partial 'wload: cannot write to stdout: No space left on device'
		rc=0
		"$WLOAD" "$@" >&- 2>stderr || rc=$?
		assert_equal "$rc" 1
	done
}

@test "stdout: a closed one is not the file that --out writes" {
	make_tiny tiny-llama "$CKPT"
	rc=0
	"$WLOAD" "$CKPT" --device host --json --out out >&- 2>stderr || rc=$?
	assert_equal "$rc" 1
	"$WLOAD" "$CKPT" --device host --quiet --out again
	diff -r out again
}

@test "stdout: a reader that leaves early is no error message" {
	make_tiny tiny-llama "$CKPT"
	"$WLOAD" ls "$CKPT" 2>stderr | head -n 1 >first
	assert_size_zero stderr
	"$WLOAD" "$CKPT" --device host --quiet | head -c 0
}
