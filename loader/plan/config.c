/* SPDX-License-Identifier: Apache-2.0 */
/* config.json is kept as its tree; each question is two look-ups, at the top and in text_config. */

#include <errno.h>
#include <string.h>

#include "loader/plan/config.h"
#include "loader/plan/json_text.h"

/* Quantised checkpoints list thousands of module names in theirs; 16 MiB is far above any. */
#define CONFIG_TEXT_MAX ((size_t)16 << 20)

struct config {
	struct json_object *root;
	struct json_object *text; /* root's "text_config", borrowed; NULL: it has none */
};

int config_parse(const char *text, struct config **ret_config, struct wload_error *err)
{
	struct json_object *root CLEANUP_JSON = NULL;
	struct json_object *inner = NULL;
	struct config *config;
	int r;

	if (!text) {
		*ret_config = NULL;
		return 0;
	}
	r = json_text_parse(text, strlen(text), "config.json", CONFIG_TEXT_MAX, JSON_TEXT_TOLERANT,
			    &root, err);
	if (r < 0)
		return r;
	config = malloc(sizeof(*config));
	if (!config)
		return wload_fail(err, ENOMEM, "out of memory");
	json_object_object_get_ex(root, "text_config", &inner);
	config->root = TAKE_PTR(root);
	config->text = json_object_is_type(inner, json_type_object) ? inner : NULL;
	*ret_config = config;
	return 0;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	json_object_put(config->root);
	free(config);
}

/* A member that is there and not null. */
static struct json_object *member(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	if (object)
		json_object_object_get_ex(object, key, &value);
	return value;
}

static const char *string_member(struct json_object *object, const char *key)
{
	struct json_object *value = member(object, key);

	return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
}

const char *config_model_type(const struct config *config)
{
	const char *type;

	if (!config)
		return NULL;
	type = string_member(config->root, "model_type");
	return type ? type : string_member(config->text, "model_type");
}

/* A member of the top, else of text_config; NULL when neither has it or it is null. */
static struct json_object *setting(const struct config *config, const char *key)
{
	struct json_object *value = member(config->root, key);

	return value ? value : member(config->text, key);
}

bool config_flag(const struct config *config, const char *key, bool fallback)
{
	struct json_object *value = config ? setting(config, key) : NULL;

	return value ? json_object_get_boolean(value) : fallback;
}

bool config_count(const struct config *config, const char *key, uint64_t *ret_count)
{
	struct json_object *value = config ? setting(config, key) : NULL;
	int64_t n = 0;

	if (json_object_is_type(value, json_type_int))
		n = json_object_get_int64(value);
	if (value && (n < 1 || n > UINT32_MAX))
		return false;
	*ret_count = (uint64_t)n;
	return true;
}
