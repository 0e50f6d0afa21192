// publish, activate, rollback and history as child processes on one state file.
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { packageRoot } from '../../src/version.ts'
import { Workplace } from './process.ts'

let place: Workplace
beforeEach(async () => {
  place = await Workplace.open()
  await place.compilePolicy()
  configure('on_activate')
})
afterEach(() => place[Symbol.asyncDispose]())

/** Many child processes one after the other. */
const long = { timeout: 90_000 }

function configure(reload: string): void {
  place.configure('http://127.0.0.1:1', { policy: { dir: './policies', reload } })
}

/** Publishes the compiled policy with one more document of data; its digest. */
async function publish(version: string): Promise<string> {
  place.write('policies/data/version.json', JSON.stringify(version))
  const { code, stdout } = await place.run(['policy', 'publish', '--json'])
  expect(code).toBe(0)
  return (JSON.parse(stdout) as { digest: string }).digest
}

async function history(): Promise<{ active: { digest: string } | null; history: { digest: string }[] }> {
  const { stdout } = await place.run(['policy', 'history', '--json'])
  return JSON.parse(stdout) as Awaited<ReturnType<typeof history>>
}

const short = (digest: string) => digest.slice(0, 19)

test('publish checks, tests and compiles; the digest is the one that build prints', long, async () => {
  cpSync(join(packageRoot, 'policies'), place.path('rego'), { recursive: true })
  const first = await place.run(['policy', 'publish', 'rego'])
  expect([first.code, first.stderr]).toEqual([0, ''])
  const [, digest] = /^published (sha256:[0-9a-f]{64}) {2}\d+ KiB\n/.exec(first.stdout) ?? []
  expect(first.stdout).toContain(`leasegate policy activate ${short(digest!)}\n`)
  const built = await place.run(['policy', 'build', 'rego'])
  expect(built.stdout).toContain(digest)
  expect(await place.run(['policy', 'history'])).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(
      new RegExp(`^nothing has been activated\npublished, never active:\n +${short(digest!)} .* cli:\\S+\n$`),
    ),
  })
})

test('history shows nothing that steers a terminal, whoever wrote it into the store', long, async () => {
  const digest = await publish('first')
  expect(await place.run(['policy', 'activate', digest])).toMatchObject({ code: 0 })
  using state = new DatabaseSync(place.path('data/leasegate.db'))
  const forged = { digest, kind: 'activate', by: 'cli:\x1b[2K\ndana', at: 1, reason: '\u009b2K\u202e' }
  state.prepare('UPDATE policy_history SET activation = ?').run(JSON.stringify(forged))
  const { stdout } = await place.run(['policy', 'history'])
  expect(stdout).toContain('cli:�[2K�dana  "�2K�"\n')
})

test('publish stores nothing that fails, and says where it fails', long, async () => {
  cpSync(join(packageRoot, 'policies'), place.path('rego'), { recursive: true })
  place.write('rego/never_test.rego', 'package leasegate.authz_test\n\ntest_never if 1 == 2\n')
  const { code, stdout } = await place.run(['policy', 'publish', 'rego'])
  expect([code, stdout]).toEqual([
    1,
    expect.stringMatching(/^rego\/never_test\.rego:3:1: error: test_never \[test_failed\]$/m),
  ])
  expect(stdout).toContain('leasegate policy test rego shows what came out')
  place.write('wasm/policy.wasm', 'not wasm')
  const unusable = await place.run(['policy', 'publish', 'wasm', '--json'])
  expect([unusable.code, JSON.parse(unusable.stdout)]).toMatchObject([
    1,
    { ok: false, diagnostics: [{ code: 'policy_unusable' }] },
  ])
  expect(await history()).toEqual({ active: null, history: [], published: [] })
})

test(
  'activate by prefix, roll back twice, go on from there: the history says who, why and which',
  long,
  async () => {
    const [a, b, c] = [await publish('a'), await publish('b'), await publish('c')]
    for (const [digest, reason] of [
      [a, 'first'],
      [b, 'tighter "writes"'],
      [c, 'INC-12'],
    ] as const) {
      const { code, stdout } = await place.run(['policy', 'activate', short(digest), '--reason', reason])
      expect([code, stdout]).toEqual([
        0,
        expect.stringMatching(new RegExp(`^active ${digest} {2}activation \\d\n`)),
      ])
    }
    expect((await history()).active).toMatchObject({
      digest: c,
      number: 3,
      kind: 'activate',
      reason: 'INC-12',
    })
    for (const digest of [b, a]) {
      const { code, stdout } = await place.run(['policy', 'rollback', '--reason', 'too strict'])
      expect([code, stdout]).toEqual([0, expect.stringContaining(`active ${digest}`)])
    }
    const nothing = await place.run(['policy', 'rollback'])
    expect(nothing).toMatchObject({ code: 1, stderr: expect.stringContaining('nothing to go back to') })
    await place.run(['policy', 'activate', c.slice('sha256:'.length)])
    const back = await place.run(['policy', 'rollback', '--json'])
    expect(JSON.parse(back.stdout)).toMatchObject({
      outcome: 'activated',
      digest: a,
      kind: 'rollback',
      number: 7,
    })
    expect((await history()).history.map(({ digest }) => digest)).toEqual([a, c, a, b, c, b, a])

    const { stdout } = await place.run(['policy', 'history', '--limit', '6'])
    const lines = stdout.split('\n')
    expect(lines).toHaveLength(7)
    expect(lines[0]).toMatch(new RegExp(`^active +7 {2}${short(a)} {2}\\S+Z {2}rollback {2}cli:\\S+$`))
    expect(lines[2]).toMatch(new RegExp(`^ +5 {2}${short(a)} .* {2}"too strict"$`))
    expect(lines[5]).toContain('"tighter \\"writes\\""')
  },
)

test('publishing what is stored and activating what is active changes nothing', long, async () => {
  const digest = await publish('a')
  const again = await place.run(['policy', 'publish'])
  expect([again.code, again.stdout]).toEqual([0, expect.stringContaining(`unchanged ${digest}`)])
  await place.run(['policy', 'activate', digest])
  const { code, stdout } = await place.run(['policy', 'activate', digest])
  expect([code, stdout]).toEqual([0, `unchanged  ${digest} is active already\n`])
  expect((await history()).history).toHaveLength(1)
})

test('what no gate could load is not activated, and where it is active no gate starts', long, async () => {
  const [active, other] = [await publish('a'), await publish('b')]
  await place.run(['policy', 'activate', active])
  const db = new DatabaseSync(place.path('data/leasegate.db'))
  db.exec("UPDATE policy_sets SET packed = x'00'")
  db.close()
  const { code, stdout, stderr } = await place.run(['policy', 'activate', other])
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toContain('nothing changed: policy_set_damaged')
  expect((await history()).active).toMatchObject({ digest: active })
  const served = await place.run(['serve'])
  expect([served.code, served.stderr]).toEqual([2, expect.stringContaining(`policy ${active} is damaged`)])
})

test.each([
  ['no digest at all', ['activate', 'latest'], 2, "'latest' is no digest"],
  ['too short a prefix', ['activate', 'sha256:abc'], 2, 'four at least'],
  ['one that nobody published', ['activate', 'abcd'], 1, 'no published policy has the digest abcd'],
  ['a reason of two lines', ['activate', 'abcd', '--reason', 'a\nb'], 2, 'the reason on one line'],
  ['a limit that is no number', ['history', '--limit', 'all'], 2, 'Write a whole number'],
  ['nothing to go back to', ['rollback'], 1, 'nothing to go back to'],
  ['no digest given', ['activate'], 2, "missing required argument 'digest'"],
])('%s is refused', async (_, args, code, message) => {
  expect(await place.run(['policy', ...args])).toMatchObject({
    code,
    stdout: '',
    stderr: expect.stringContaining(message),
  })
})

test.each(['on_change', 'never'])(
  'with reload: %s, what nobody would follow is refused',
  long,
  async (reload) => {
    configure(reload)
    const digest = await publish('a')
    for (const args of [['activate', digest], ['rollback']]) {
      const { code, stdout, stderr } = await place.run(['policy', ...args])
      expect([code, stdout]).toEqual([2, ''])
      expect(stderr).toBe('leasegate: config.yaml: no gate would follow: set policy.reload to on_activate\n')
    }
    expect(await history()).toMatchObject({ active: null, history: [], published: [{ digest }] })
  },
)

test('of two rollbacks at once one is done', long, async () => {
  const [a, b, c] = [await publish('a'), await publish('b'), await publish('c')]
  for (const digest of [a, b, c]) await place.run(['policy', 'activate', digest])
  const runs = await Promise.all([place.run(['policy', 'rollback']), place.run(['policy', 'rollback'])])
  // Each may have read before or after the other wrote: a step back is never doubled, and never lost.
  const done = runs.filter(({ code }) => code === 0)
  expect(done.length).toBeGreaterThanOrEqual(1)
  const { history: entries } = await history()
  expect(entries.slice(0, done.length).map(({ digest }) => digest)).toEqual(
    [b, a].slice(0, done.length).reverse(),
  )
  for (const { code, stderr } of runs.filter((run) => !done.includes(run))) {
    expect([code, stderr]).toEqual([1, expect.stringContaining('meanwhile')])
  }
})
