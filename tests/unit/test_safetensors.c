/* SPDX-License-Identifier: Apache-2.0 */
/* What the messages say and what the writer writes. What is accepted is the corpus's business:
 * tests/corpus/safetensors.txt, replayed by fuzz_safetensors and compared by the oracle. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loader/checkpoint/safetensors.h"
#include "tap.h"

#define U8(shape, begin, end) \
	"{\"dtype\":\"U8\",\"shape\":[" shape "],\"data_offsets\":[" begin "," end "]}"

static const struct {
	const char *rule, *json;
	uint64_t data_bytes;
	int code;
	const char *want;
} refused[] = {
	{"JSON says where", "{\"a\":}", 0, EBADMSG, "invalid JSON at byte 5: expected a value"},
	{"unknown dtype", "{\"a\":{\"dtype\":\"F9\",\"shape\":[],\"data_offsets\":[0,1]}}", 1,
	 EOPNOTSUPP, "tensor 'a': unknown dtype 'F9'"},
	{"missing member", "{\"a\":{\"dtype\":\"U8\",\"shape\":[]}}", 0, EBADMSG,
	 "tensor 'a': no member 'data_offsets'"},
	{"member twice", "{\"a\":{\"shape\":[],\"shape\":[]}}", 0, EBADMSG,
	 "tensor 'a': two members 'shape'"},
	{"negative dimension", "{\"a\":" U8("-1", "0", "1") "}", 1, EBADMSG,
	 "tensor 'a': its shape is not an array of whole numbers below 2^64"},
	{"hole", "{\"a\":" U8("1", "0", "1") ",\"b\":" U8("1", "2", "3") "}", 3, EBADMSG,
	 "tensor 'b': begins at 2, but those before it end at 1"},
	{"reversed", "{\"a\":" U8("5", "0", "5") ",\"b\":" U8("1", "5", "3") "}", 5, EBADMSG,
	 "tensor 'b': ends at 3, before it begins at 5"},
	{"overflow", "{\"a\":" U8("2305843009213693952", "0", "1") "}", 1, EBADMSG,
	 "tensor 'a': its shape is over 2^64 bits"},
	{"overflow of the shape alone", "{\"a\":" U8("4294967296,4294967296", "0", "0") "}", 0,
	 EBADMSG, "tensor 'a': its shape is over 2^64 bits"},
	{"overlap", "{\"a\":" U8("2", "0", "2") ",\"b\":" U8("1", "1", "2") "}", 2, EBADMSG,
	 "tensor 'b': begins at 1, but those before it end at 2"},
	{"bytes after the last", "{\"a\":" U8("1", "0", "1") "}", 2, EBADMSG,
	 "the tensors end at 1, but 2 bytes follow the header"},
	{"metadata twice", "{\"__metadata__\":null,\"__metadata__\":null}", 0, EBADMSG,
	 "the header has two members '__metadata__'"},
	{"metadata is a number", "{\"__metadata__\":{\"a\":1}}", 0, EBADMSG,
	 "the header has a __metadata__ value that is not a string"},
	{"half a byte", "{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2,
	 EBADMSG, "tensor 'a': 12 bits of F4 are not whole bytes"},
	{"wrong size", "{\"a\":" U8("2", "0", "3") "}", 3, EBADMSG,
	 "tensor 'a': its shape needs 2 bytes of U8, its data_offsets span 3"},
	{"truncated", "{\"a\":" U8("2", "0", "2") "}", 1, EBADMSG,
	 "the tensors end at 2, but 1 bytes follow the header"},
	{"root is an array", "[]", 0, EBADMSG, "the header is not a JSON object"},
};

static void test_refused(struct tap *tap)
{
	struct safetensors_header header = {0};
	struct wload_error err;
	size_t i;
	int r;

	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		err = (struct wload_error){0};
		r = safetensors_parse_header((const uint8_t *)refused[i].json,
					     strlen(refused[i].json), refused[i].data_bytes,
					     &header, &err);
		if (!ok(tap, r == -refused[i].code && strcmp(err.text, refused[i].want) == 0, "%s",
			refused[i].rule))
			printf("# got %d %s\n", r, err.text);
	}
	safetensors_clear(&header);
}

static void test_prefix(struct tap *tap)
{
	static const struct {
		const char *rule;
		uint8_t prefix[8];
		uint64_t file_bytes;
		int want;
		uint64_t len;
	} rows[] = {
		{"seven bytes", {0}, 7, -EBADMSG, 0},
		{"length 0 is the JSON's matter", {0}, 8, 0, 0},
		{"little-endian", {0, 1}, 1000, 0, 256},
		{"ends with the file", {2}, 10, 0, 2},
		{"runs past the file", {3}, 10, -EBADMSG, 0},
		{"exactly the limit", {0x00, 0xe1, 0xf5, 0x05}, 100000008, 0, 100000000},
		{"over the limit", {0x01, 0xe1, 0xf5, 0x05}, 200000000, -E2BIG, 0},
		{"2^64 - 1", {255, 255, 255, 255, 255, 255, 255, 255}, 10, -E2BIG, 0},
	};
	uint64_t len;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		len = 0;
		ok(tap,
		   safetensors_read_prefix(rows[i].prefix, rows[i].file_bytes, &len, NULL) ==
				   rows[i].want &&
			   len == rows[i].len,
		   "prefix: %s", rows[i].rule);
	}
}

static void test_order(struct tap *tap)
{
	static const char json[] = "{\"z\":" U8("0", "1", "1") ",\"b\":" U8(
		"1", "1", "2") ",\"c\":" U8("0", "1", "1") ",\"a\":" U8("1", "0", "1") "}";
	struct safetensors_header header = {0};
	char order[8] = "";
	size_t i;

	safetensors_parse_header((const uint8_t *)json, strlen(json), 2, &header, NULL);
	for (i = 0; i < header.count && i < 7; i++)
		order[i] = safetensors_tensor(&header, i).name[0];
	ok(tap, strcmp(order, "aczb") == 0, "tensors come in disk order, then by name");
	safetensors_clear(&header);
}

static void test_same_name(struct tap *tap)
{
	static const char json[] = "{\"a\":" U8("3", "0", "3") ",\"b\":" U8(
		"1", "2", "3") ",\"a\":" U8("2", "0", "2") "}";
	struct safetensors_header header = {0};
	int r = safetensors_parse_header((const uint8_t *)json, strlen(json), 3, &header, NULL);

	ok(tap, r == 0 && header.count == 2 && safetensors_tensor(&header, 0).bytes == 2,
	   "of two tensors with one name the later counts");
	safetensors_clear(&header);
}

static void test_write(struct tap *tap)
{
	static const uint64_t shape[] = {2, 3};
	static const struct wload_tensor tensors[] = {
		{.name = "q\"\\\n\x01\xc0\x80\xc3\xa9",
		 .dtype = WLOAD_DTYPE_BF16,
		 .shape = shape,
		 .rank = 2,
		 .offset = 0,
		 .bytes = 12},
		{.name = "s", .dtype = WLOAD_DTYPE_F32, .offset = 12, .bytes = 4},
	};
	static const char want[] =
		"{\"__metadata__\":{\"format\":\"pt\"},"
		"\"q\\\"\\\\\\n\\u0001\\u0000\xc3\xa9\":{\"dtype\":\"BF16\",\"shape\":[2,3],"
		"\"data_offsets\":[0,12]},\"s\":{\"dtype\":\"F32\",\"shape\":[],"
		"\"data_offsets\":[12,16]}}";
	const struct wload_tensor reserved = {.name = "__metadata__", .dtype = WLOAD_DTYPE_U8};
	struct safetensors_header header = {0};
	uint8_t *text = NULL, *none = NULL;
	size_t len = 0;

	ok(tap, safetensors_write_header(tensors, 2, &text, &len, NULL) == 0, "write");
	ok(tap, len % 8 == 0 && text[0] == (uint8_t)(len - 8) && text[len - 1] != '\0',
	   "write: padded to 8, its length in front");
	ok(tap, memcmp(text + 8, want, strlen(want)) == 0, "write: as the reference spells it");
	ok(tap,
	   safetensors_parse_header(text + 8, len - 8, 16, &header, NULL) == 0 &&
		   strcmp(safetensors_tensor(&header, 0).name, tensors[0].name) == 0,
	   "write: read again, names are the same");
	ok(tap, safetensors_write_header(&reserved, 1, &none, &len, NULL) == -EINVAL,
	   "write: no tensor can be called __metadata__");
	safetensors_clear(&header);
	free(text);
}

int main(void)
{
	struct tap tap = {0};

	test_refused(&tap);
	test_prefix(&tap);
	test_order(&tap);
	test_same_name(&tap);
	test_write(&tap);
	return tap_done(&tap);
}
