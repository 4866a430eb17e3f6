// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's CRC-32, where it is computed with instructions that multiply without carry: several times as fast as the tables
 * that the file system has itself. Since 6.14 it is a function; before, a driver of the crypto layer, which udev loads on
 * machines that can.
 */
#include <linux/crc32.h>

#include "internal.h"

#if BENTO_SINCE(6, 14)

bool bento_has_crc(void)
{
	return crc32_optimizations() & CRC32_LE_OPTIMIZATION;
}

u32 bento_crc(u32 crc, const u8 *bytes, size_t count)
{
	return crc32_le(crc, bytes, count);
}

void bk_crc_init(void)
{
}

void bk_crc_exit(void)
{
}

#else
#include <crypto/hash.h>

static struct crypto_shash *driver;

bool bento_has_crc(void)
{
	return driver;
}

u32 bento_crc(u32 crc, const u8 *bytes, size_t count)
{
	struct {
		struct shash_desc desc;
		u32 crc;
	} state = { .desc.tfm = driver, .crc = crc };

	/* It cannot fail: there is no key to set, and the state is the sum itself. */
	crypto_shash_update(&state.desc, bytes, count);
	return state.crc;
}

/* Without one the file system uses its own tables. */
void bk_crc_init(void)
{
	driver = crypto_alloc_shash("crc32", 0, 0);
	if (IS_ERR(driver)) {
		driver = NULL;
		return;
	}
	if (crypto_shash_descsize(driver) == sizeof(u32) &&
	    strcmp(crypto_tfm_alg_driver_name(crypto_shash_tfm(driver)), "crc32-generic"))
		return;
	bk_crc_exit();
}

void bk_crc_exit(void)
{
	if (driver)
		crypto_free_shash(driver);
	driver = NULL;
}

#endif
BENTO_EXPORT(bento_has_crc);
BENTO_EXPORT(bento_crc);
