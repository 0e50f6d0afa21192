// A secret that the gate makes for itself on its first start: in a file of mode 0600, never printed.
import { randomBytes } from 'node:crypto'
import { link, mkdir, open, unlink, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * The token in `file`, made there when there is none: 32 random bytes, base64url. Throws an Error that
 * names the file, never its content, when others can read it or when it holds less than 20 characters.
 */
export async function openSecretFile(file: string): Promise<string> {
  const known = await readSecret(file)
  if (known !== undefined) return known
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const fresh = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`
  await writeFile(fresh, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' })
  try {
    // Of several first starts one wins, and all read what it wrote.
    await link(fresh, file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await unlink(fresh)
  }
  const made = await readSecret(file)
  if (made === undefined) throw new Error(`${file}: vanished while it was being made`)
  return made
}

async function readSecret(file: string): Promise<string | undefined> {
  try {
    const handle = await open(file, 'r')
    try {
      const { mode } = await handle.stat()
      if ((mode & 0o077) !== 0)
        throw new Error(`${file}: others can read this secret; run: chmod 600 ${file}`)
      const token = (await handle.readFile('utf8')).trim()
      if (token.length < 20) throw new Error(`${file}: holds no token of at least 20 characters`)
      return token
    } finally {
      await handle.close()
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
