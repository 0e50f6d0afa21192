import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { open as openFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Store } from '../../src/ports.ts'
import { type EmbeddedOptions, openEmbedded } from '../../src/stores/embedded.ts'
import { migrations } from '../../src/stores/sql.ts'
import { eventually, found, storeContract } from './contract.ts'
import { lease, nowSeconds, oldLease, recordWrite, revocation, suspension, total } from './samples.ts'
import { suspended } from './suspensions_contract.ts'

const maxStalenessMs = 2000

storeContract('embedded', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'leasegate-state-'))
  return {
    open: (options) =>
      openEmbedded({ path: join(dir, 'leasegate.db'), maxStalenessMs, purgeEveryMs: 50, ...options }),
    end: async () => rmSync(dir, { recursive: true }),
  }
})

describe('the embedded store', () => {
  let dir: string
  let path: string
  const stores: Store[] = []
  const children: ChildProcess[] = []
  const open = async (staleness = maxStalenessMs, over: Partial<EmbeddedOptions> = {}) => {
    const store = await openEmbedded({ path, maxStalenessMs: staleness, ...over })
    stores.push(store)
    return store
  }
  const stored = (id: string) => {
    const file = new DatabaseSync(path, { readOnly: true })
    const rows = file.prepare('SELECT 1 FROM revocations WHERE entry LIKE ?').all(`%"${id}"%`)
    file.close()
    return rows.length > 0
  }
  const writeInChild = async (what: string, id: string) => {
    const script = fileURLToPath(new URL('write-child.ts', import.meta.url))
    const child = spawn(process.execPath, [script, path, what, id], { stdio: ['ignore', 'pipe', 'inherit'] })
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

  it('keeps what a clock that is set ahead for a while would have expired', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    try {
      let aheadMs = 0
      const store = await openEmbedded({ path, maxStalenessMs, now: () => Date.now() + aheadMs })
      stores.push(store)
      await store.revocations.revoke(revocation('lse_1'))
      aheadMs = 90 * 86_400_000
      vi.advanceTimersByTime(120_000)
      // Comes after what the timers have begun.
      await store.leases.put(lease('lse_1'))
      expect(store.revocations.find(['lease\nlse_1'], 0)).toBeDefined()
      expect((await open()).revocations.find(['lease\nlse_1'], 0)).toBeDefined()
    } finally {
      vi.useRealTimers()
    }
  })

  it('keeps its directory and its files to its own user', async () => {
    const store = await open()
    await store.revocations.revoke(revocation('lse_1'))
    expect(statSync(join(dir, 'state')).mode & 0o777).toBe(0o700)
    const used = `${path}-replay`
    for (const file of [path, `${path}-wal`, `${path}-shm`, used, `${used}-wal`, `${used}-shm`]) {
      expect(statSync(file).mode & 0o777).toBe(0o600)
    }
  })

  it('takes a file away from others that could read it', async () => {
    path = join(dir, 'leasegate.db')
    writeFileSync(path, '', { mode: 0o644 })
    await open()
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it.each([
    ['a revocation', 'revoke', (store: Store) => found(store, 'lse_1'), { by: 'child' }],
    ['a suspension', 'suspend', (store: Store) => suspended(store, 'lse_1'), { by: 'child' }],
    ['a lease', 'put', (store: Store) => store.leases.get('lse_1'), { state: 'active' }],
    ['a renewal', 'renew', (store: Store) => store.leases.get('lse_1'), { renewals: 1 }],
    ['a completion', 'complete', (store: Store) => store.leases.get('lse_1'), { state: 'completed' }],
  ])('has %s after the process that acknowledged it was killed at once', async (_, what, read, wanted) => {
    const before = await open()
    if (what === 'renew' || what === 'complete') await before.leases.put(lease('lse_1'))
    await before.close()
    const child = await writeInChild(what, 'lse_1')
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(await read(await open())).toMatchObject(wanted)
  })

  it('acknowledges nothing that the disk did not take, and goes on once it has all', async () => {
    const store = await open()
    const handle = await openFile(path)
    const handles = Object.getPrototypeOf(handle) as { datasync: () => Promise<void> }
    await handle.close()
    const { datasync } = handles
    const log = () => statSync(`${path}-wal`).size
    handles.datasync = () => Promise.reject(Object.assign(new Error('disk'), { code: 'EIO' }))
    try {
      await expect(store.leases.put(lease('lse_1'))).rejects.toMatchObject({ name: 'Unavailable' })
    } finally {
      handles.datasync = datasync
    }
    const before = log()
    await store.leases.put(lease('lse_2'))
    expect(await store.leases.get('lse_2')).toMatchObject({ state: 'active' })
    // What came before the hole is in the main file: the log began anew.
    expect(log()).toBeLessThan(before)
  })

  it('lets no single-use id pass again after the process that used it was killed at once', async () => {
    const child = await writeInChild('use', 'jti_1')
    child.kill('SIGKILL')
    await once(child, 'exit')
    const { replay } = await open()
    expect(await replay.use('jti_1', nowSeconds() + 60, nowSeconds())).toBe(false)
    expect(await replay.use('jti_2', nowSeconds() + 60, nowSeconds())).toBe(true)
  })

  it('sees what another process revokes and suspends', async () => {
    const store = await open()
    expect(found(store, 'lse_1')).toBeUndefined()
    await writeInChild('revoke', 'lse_1')
    await writeInChild('suspend', 'lse_2')
    await eventually(() => found(store, 'lse_1')).toMatchObject({ by: 'child' })
    await eventually(() => suspended(store, 'lse_2')).toMatchObject({ by: 'child' })
  })

  it('sees a resumption although entries that were written later have been purged', async () => {
    const [a, b] = [await open(), await open()]
    await a.revocations.suspend(suspension('lse_1'))
    await a.revocations.suspend(suspension('lse_over', { expiresAt: nowSeconds() - 3600 }))
    await eventually(() => suspended(b, 'lse_1')).toBeDefined()
    await open(maxStalenessMs, { purgeEveryMs: 5 })
    await eventually(() => stored('lse_over')).toBe(false)
    await a.revocations.suspend(suspension('lse_1', { version: 2, suspended: false }))
    await eventually(() => suspended(b, 'lse_1')).toBeUndefined()
  })

  it('reaches as far as its clock did before it was set back, for tokens that are in no record', async () => {
    let aheadMs = 0
    const store = await open(maxStalenessMs, { now: () => Date.now() + aheadMs })
    const before = await store.now()
    aheadMs = -90_000
    expect(await store.now()).toBeGreaterThanOrEqual(before)
  })

  it('forgets nothing that is in force because the clock was set forward', async () => {
    let aheadMs = 0
    const store = await open(maxStalenessMs, { purgeEveryMs: 5, now: () => Date.now() + aheadMs })
    await store.revocations.revoke(revocation('lse_live'))
    aheadMs = 40 * 24 * 3600 * 1000
    await store.revocations.suspend(suspension('lse_over', { expiresAt: nowSeconds() - 3600 }))
    await eventually(() => stored('lse_over')).toBe(false)
    expect(stored('lse_live')).toBe(true)
    expect(found(store, 'lse_live')).toBeDefined()
  })

  it('read strictly, knows everything that others have committed, however much it is', async () => {
    const strict = await open(maxStalenessMs, { strict: true, pollMs: 3_600_000 })
    const other = await open()
    const ids = Array.from({ length: 2500 }, (_, i) => `lse_${i}`)
    await Promise.all(ids.map((id) => other.revocations.revoke(revocation(id))))
    expect(found(strict, 'lse_2499')).toBeUndefined()
    await strict.revocations.confirm({ id: 'lse_2499', ancestors: [], revocationKeys: [] })
    expect(ids.filter((id) => found(strict, id) === undefined)).toEqual([])
  })

  it('refuses writes while another process holds the file, and takes them again after', async () => {
    const store = await open()
    const other = new DatabaseSync(path)
    other.exec('BEGIN EXCLUSIVE')
    await expect(store.revocations.revoke(revocation('lse_1'))).rejects.toMatchObject({ name: 'Unavailable' })
    await expect(store.budgets.spend([total('k')])).rejects.toMatchObject({
      name: 'Unavailable',
    })
    await expect(store.records.write([recordWrite('a', { lists: ['all'] })])).rejects.toMatchObject({
      name: 'Unavailable',
    })
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

  it('lets no single-use id pass once their file is gone: another process would begin a new one', async () => {
    const store = await open()
    renameSync(`${path}-replay`, `${path}-replay.away`)
    await expect(store.replay.use('jti_1', nowSeconds() + 60, nowSeconds())).rejects.toMatchObject({
      name: 'Unavailable',
    })
  })

  it.each(['{', '"text"', '{"suspended":"yes"}', JSON.stringify({ ...suspension('lse_1'), version: -1 })])(
    'grows stale when a suspension cannot be read: %s',
    async (entry) => {
      const store = await open(50)
      const other = new DatabaseSync(path)
      other.prepare("INSERT INTO revocations (key, keep_until, entry) VALUES ('x', 9e9, ?)").run(entry)
      await eventually(() => store.revocations.ageMs(Date.now())).toBeGreaterThan(50)
      other.close()
    },
  )

  it('reads what the first versions wrote, and finds it by session and state', async () => {
    mkdirSync(dirname(path), { recursive: true })
    const old = new DatabaseSync(path)
    for (const migration of migrations.slice(0, 2)) old.exec(migration)
    old.exec('PRAGMA user_version = 2')
    const insert = old.prepare('INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?)')
    for (const record of [oldLease('lse_1'), oldLease('lse_2', { state: 'revoked', session: 'ses_2' })]) {
      const { id, agent, user } = record as { id: string; agent: string; user: string }
      insert.run(id, nowSeconds(), nowSeconds() + 9999, agent, user, 'jira:SUP-1', JSON.stringify(record))
    }
    old.close()
    const { leases } = await open()
    const unsaid = { agentEnv: '', clientId: '', profile: '', profileVersion: '', audience: '' }
    const { issuedAt } = (await leases.get('lse_1'))!
    const times = { issuedAt, expiresAt: issuedAt + 300, maxExpiresAt: issuedAt + 3600 }
    expect(await leases.get('lse_1')).toEqual(lease('lse_1', { ...unsaid, ...times }))
    expect(await leases.list({ session: 'ses_1', limit: 9 })).toMatchObject([{ id: 'lse_1' }])
    expect(await leases.list({ state: 'revoked', limit: 9 })).toMatchObject([{ id: 'lse_2' }])
    expect(await leases.renew('lse_1', { issuedAt, expiresAt: issuedAt + 600 })).toMatchObject({
      renewals: 1,
      version: 0,
    })
  })

  it.each(['{', '[]', '{"id":"lse_1"}'])('guesses nothing about a lease it cannot read: %s', async (text) => {
    const { leases } = await open()
    await leases.put(lease('lse_1'))
    const other = new DatabaseSync(path)
    other.prepare('UPDATE leases SET record = ?').run(text)
    other.close()
    const reason = { name: 'Unavailable', message: 'a stored lease is malformed' }
    const asked = [
      leases.get('lse_1'),
      leases.renew('lse_1', { issuedAt: 0, expiresAt: 1 }),
      leases.list({ limit: 1 }),
    ]
    for (const result of await Promise.allSettled(asked)) {
      expect(result).toMatchObject({ status: 'rejected', reason })
    }
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
