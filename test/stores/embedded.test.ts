import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Store } from '../../src/ports.ts'
import { openEmbedded } from '../../src/stores/embedded.ts'
import { eventually, found, nowSeconds, revocation, storeContract } from './contract.ts'

const maxStalenessMs = 2000

storeContract('embedded', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-state-'))
  return {
    open: () => openEmbedded({ path: join(dir, 'leasegate.db'), maxStalenessMs }),
    end: async () => rmSync(dir, { recursive: true }),
  }
})

describe('the embedded store', () => {
  let dir: string
  let path: string
  const stores: Store[] = []
  const children: ChildProcess[] = []
  const open = async (staleness = maxStalenessMs) => {
    const store = await openEmbedded({ path, maxStalenessMs: staleness })
    stores.push(store)
    return store
  }
  const revokeInChild = async (value: string) => {
    const script = fileURLToPath(new URL('revoke-child.ts', import.meta.url))
    const child = spawn(process.execPath, [script, path, value], { stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    const [line] = await once(child.stdout, 'data')
    expect(String(line)).toBe('acknowledged\n')
    return child
  }

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'leasegate-state-'))
    path = join(dir, 'state', 'leasegate.db')
  })
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
    await Promise.all(stores.splice(0).map((store) => store.close()))
    rmSync(dir, { recursive: true })
  })

  it('keeps its directory and its files to its own user', async () => {
    const store = await open()
    await store.revocations.revoke(revocation('lse_1'))
    expect(statSync(join(dir, 'state')).mode & 0o777).toBe(0o700)
    for (const file of [path, `${path}-wal`, `${path}-shm`]) expect(statSync(file).mode & 0o777).toBe(0o600)
  })

  it('takes a file away from others that could read it', async () => {
    path = join(dir, 'leasegate.db')
    writeFileSync(path, '', { mode: 0o644 })
    await open()
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it('has an acknowledged revocation after the process that made it was killed at once', async () => {
    const child = await revokeInChild('lse_1')
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(found(await open(), 'lse_1')).toMatchObject({ by: 'child' })
  })

  it('sees what another process revokes', async () => {
    const store = await open()
    expect(found(store, 'lse_1')).toBeUndefined()
    await revokeInChild('lse_1')
    await eventually(() => found(store, 'lse_1')).toMatchObject({ by: 'child' })
  })

  it('refuses writes while another process holds the file, and takes them again after', async () => {
    const store = await open()
    const other = new DatabaseSync(path)
    other.exec('BEGIN EXCLUSIVE')
    await expect(store.revocations.revoke(revocation('lse_1'))).rejects.toMatchObject({ name: 'Unavailable' })
    await expect(store.budgets.spend('k', 5, nowSeconds() + 60)).rejects.toMatchObject({
      name: 'Unavailable',
    })
    await expect(store.approvals.use('f', nowSeconds())).rejects.toMatchObject({ name: 'Unavailable' })
    expect(found(store, 'lse_1')).toBeUndefined()
    other.exec('ROLLBACK')
    other.close()
    await store.revocations.revoke(revocation('lse_1'))
    expect(found(store, 'lse_1')).toBeDefined()
  })

  it('waits for another process that holds the file briefly', async () => {
    const store = await open()
    const other = new DatabaseSync(path)
    other.exec('BEGIN IMMEDIATE')
    const revoked = store.revocations.revoke(revocation('lse_1'))
    setImmediate(() => other.exec('COMMIT'))
    await expect(revoked).resolves.toBeUndefined()
    other.close()
  })

  it('grows stale and refuses everything once its file is gone, and recovers when it is back', async () => {
    const store = await open(50)
    await store.revocations.revoke(revocation('lse_1'))
    renameSync(path, `${path}.away`)
    await expect(store.revocations.revoke(revocation('lse_2'))).rejects.toMatchObject({ name: 'Unavailable' })
    await expect(store.leases.get('lse_1')).rejects.toMatchObject({ name: 'Unavailable' })
    await eventually(() => store.revocations.ageMs(Date.now())).toBeGreaterThan(50)
    await expect(store.ping()).rejects.toMatchObject({ name: 'Unavailable' })
    expect(found(store, 'lse_1')).toBeDefined()
    expect(existsSync(path)).toBe(false)
    renameSync(`${path}.away`, path)
    await eventually(() => store.revocations.ageMs(Date.now())).toBeLessThan(50)
    await store.revocations.revoke(revocation('lse_2'))
    expect(found(store, 'lse_2')).toBeDefined()
  })

  it('grows stale when another file takes the place of its own', async () => {
    const store = await open(50)
    renameSync(path, `${path}.away`)
    writeFileSync(path, '')
    await eventually(() => store.revocations.ageMs(Date.now())).toBeGreaterThan(50)
    await expect(store.ping()).rejects.toMatchObject({ name: 'Unavailable' })
  })

  it('grows stale when an entry cannot be read: a guess could miss a revocation', async () => {
    const store = await open(50)
    const other = new DatabaseSync(path)
    other.exec(`INSERT INTO revocations (key, keep_until, entry) VALUES ('x', 9e9, '{"scope":"planet"}')`)
    await eventually(() => store.revocations.ageMs(Date.now())).toBeGreaterThan(50)
    other.exec(`DELETE FROM revocations WHERE key = 'x'`)
    await eventually(() => store.revocations.ageMs(Date.now())).toBeLessThan(50)
    other.close()
  })

  it('does not open a file of a newer version', async () => {
    await (await open()).close()
    const other = new DatabaseSync(path)
    other.exec('PRAGMA user_version = 99')
    other.close()
    await expect(open()).rejects.toMatchObject({ name: 'Unavailable', message: /newer/ })
  })

  it.each([
    ['a file that is no database', () => writeFileSync(join(dir, 'f'), 'x'.repeat(5000)), 'f'],
    ['a path below a file', () => writeFileSync(join(dir, 'f'), ''), 'f/leasegate.db'],
  ])('does not open %s', async (_, prepare, name) => {
    prepare()
    path = join(dir, name)
    await expect(open()).rejects.toMatchObject({ name: 'Unavailable', message: /^state file: / })
  })
})
