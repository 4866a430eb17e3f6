// SPDX-License-Identifier: GPL-2.0-only
/* Options of a mount: read, shown, changed. */
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/seq_file.h>

#include "internal.h"

/* Seconds between commits. */
#define COMMIT_DEFAULT 5
#define COMMIT_MOST 300

enum option { OPTION_ERRORS, OPTION_COMMIT, OPTION_DISCARD, OPTION_NODISCARD, OPTION_PROV };

static const struct constant_table policies[] = {
	{ "continue", BK_ERRORS_CONTINUE },
	{ "remount-ro", BK_ERRORS_READ_ONLY },
	{ "shutdown", BK_ERRORS_SHUTDOWN },
	{}
};

const struct fs_parameter_spec bk_parameters[] = {
	fsparam_enum("errors", OPTION_ERRORS, policies),
	fsparam_u32("commit", OPTION_COMMIT),
	fsparam_flag("discard", OPTION_DISCARD),
	fsparam_flag("nodiscard", OPTION_NODISCARD),
	fsparam_flag("prov", OPTION_PROV),
	{}
};

/* Which version serves is decided at the mount, and by upgrades; a remount hands back what it was shown. */
static int option_prov(struct fs_context *fc, struct bk_options *options)
{
	struct bento_mount *m = fc->purpose == FS_CONTEXT_FOR_RECONFIGURE ? fc->root->d_sb->s_fs_info : NULL;

	if (m && !READ_ONCE(m->wants_first_write))
		return invalf(fc, "BENTO-fs: prov: `bento upgrade --to bento-prov` turns provenance on under a mount");
	options->prov = true;
	return 0;
}

int bk_option(struct fs_context *fc, struct fs_parameter *parameter)
{
	struct bk_options *options = fc->fs_private;
	struct fs_parse_result result;
	int option = fs_parse(fc, bk_parameters, parameter, &result);

	switch (option) {
	case OPTION_ERRORS:
		options->errors = result.uint_32;
		return 0;
	case OPTION_COMMIT:
		if (!result.uint_32 || result.uint_32 > COMMIT_MOST)
			return invalf(fc, "BENTO-fs: commit=%u: seconds from 1 to %u are possible", result.uint_32, COMMIT_MOST);
		options->commit_seconds = result.uint_32;
		return 0;
	case OPTION_DISCARD:
		return invalf(fc, "BENTO-fs: discard is not supported yet; leave it out");
	case OPTION_NODISCARD:
		return 0;
	case OPTION_PROV:
		return option_prov(fc, options);
	}
	return option;
}

void bk_options_show(struct seq_file *seq, const struct bento_mount *m)
{
	seq_printf(seq, ",errors=%s", policies[m->options.errors].name);
	if (m->options.commit_seconds != COMMIT_DEFAULT)
		seq_printf(seq, ",commit=%u", m->options.commit_seconds);
	if (READ_ONCE(m->wants_first_write))
		seq_puts(seq, ",prov");
}

/* What a mount has that says nothing, and what a remount begins with. */
struct bk_options *bk_options_new(const struct bento_mount *m)
{
	struct bk_options *options = kzalloc(sizeof(*options), GFP_KERNEL);

	if (options && m)
		*options = m->options;
	else if (options)
		*options = (struct bk_options){ .errors = BK_ERRORS_READ_ONLY, .commit_seconds = COMMIT_DEFAULT };
	return options;
}
