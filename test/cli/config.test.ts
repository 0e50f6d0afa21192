// `config check` and the start of `serve` with a file that cannot be used, as child processes.
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { packageRoot } from '../../src/version.ts'
import { crmToken, Workplace } from './process.ts'

let place: Workplace
beforeEach(async () => {
  place = await Workplace.open()
  await place.compilePolicy()
})
afterEach(() => place[Symbol.asyncDispose]())

/** Six mistakes, in lines that the tests name. */
const broken = `listen:
  proxy: 127.0.0.1
public_origin: http://127.0.0.1:8080/
polcy: {}
backends:
  crm:
    url: http://127.0.0.1:3000
    path_prefix: /crm
    credential: { header: authorization, value: "Bearer \${env:NO_SUCH_TOKEN}" }
    operations:
      - { match: "GET /customers/{id}", verb: read, resource: "customer/{nr}", sensitivity: secret }
`

describe('config check', () => {
  test('accepts the example, whatever directory it is called from', async () => {
    const { code, stdout, stderr } = await place.run([
      'config',
      'check',
      join(packageRoot, 'config.example.yaml'),
    ])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain('1 backend, 4 operations')
  })

  test('looks for config.yaml where no file is named', async () => {
    place.configure('http://127.0.0.1:3000')
    expect(await place.run(['config', 'check'])).toMatchObject({ code: 0, stderr: '' })
  })

  test('warns of a fail-over that can undo a revocation, and exits 0', async () => {
    const state = { store: 'redis', redis: { cluster: { nodes: ['10.0.0.1:6379'] } } }
    place.configure('http://127.0.0.1:3000', { state })
    const warning = expect.stringContaining('state.redis.acknowledge: write { replicas: 1 }')
    expect(await place.run(['config', 'check'])).toMatchObject({ code: 0, stdout: warning, stderr: '' })
    const { code, stdout } = await place.run(['config', 'check', '--json'])
    expect([code, JSON.parse(stdout)]).toEqual([0, { ok: true, problems: [], warnings: [warning] }])
  })

  test('lists every problem at once with file, line and column, and exits 2', async () => {
    place.write('config.yaml', broken)
    const { code, stdout, stderr } = await place.run(['config', 'check', 'config.yaml'])
    expect([code, stdout]).toEqual([2, ''])
    const found = [...stderr.matchAll(/config\.yaml:(\d+):(\d+) {2}([^:]+):/g)].map((match) => match.slice(1))
    expect(found.filter(([, , path]) => path !== 'policy.dir')).toEqual([
      ['2', '3', 'listen.proxy'],
      ['3', '1', 'public_origin'],
      ['4', '1', 'polcy'],
      ['9', '42', 'backends.crm.credential.value'],
      ['11', '53', 'backends.crm.operations[0].resource'],
      ['11', '80', 'backends.crm.operations[0].sensitivity'],
    ])
    expect(stderr).toContain('did you mean policy?')
    expect(stderr).not.toContain('    at ')
  })

  test('--json gives the same to programs', async () => {
    place.write('config.yaml', broken)
    const { code, stdout, stderr } = await place.run(['config', 'check', 'config.yaml', '--json'])
    expect([code, stderr]).toEqual([2, ''])
    const { ok, problems } = JSON.parse(stdout) as { ok: boolean; problems: object[] }
    expect(ok).toBe(false)
    expect(problems).toContainEqual({
      file: 'config.yaml',
      line: 4,
      column: 1,
      path: 'polcy',
      message: expect.stringContaining('did you mean policy?'),
    })
  })

  test.each(['no-such-file.yaml', '.'])('says what is wrong with the file %s itself', async (file) => {
    const { code, stderr } = await place.run(['config', 'check', file])
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^leasegate: .*can be read: E[A-Z]+/)])
  })

  test('never prints what a reference stands for', async () => {
    place.configure('http://127.0.0.1:3000', { via: `\${env:CRM_TOKEN} x` })
    const { code, stdout, stderr } = await place.run(['config', 'check', place.config])
    expect(code).toBe(2)
    expect(stdout + stderr).not.toContain(crmToken)
  })
})

describe('serve', () => {
  const connects = (port: number) =>
    new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).once('error', () => resolve(false))
      socket.once('close', () => socket.destroy())
    })

  test('with a broken file exits 2 with the same list, and has listened nowhere', async () => {
    place.configure('http://127.0.0.1:3000', { polcy: {} })
    const { code, stdout, stderr } = await place.run(['serve', '--config', place.config])
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain('did you mean policy?')
    for (const port of Object.values(place.ports)) expect(await connects(port)).toBe(false)
  })

  test('with a missing environment value exits 2', async () => {
    place.configure('http://127.0.0.1:3000')
    const text = readFileSync(place.config, 'utf8').replace('CRM_TOKEN', 'OTHER_TOKEN')
    place.write('config.yaml', text)
    const { code, stderr } = await place.run(['serve'])
    expect([code, stderr]).toEqual([2, expect.stringContaining('OTHER_TOKEN')])
  })

  test('with a policy that does not compile ends before it listens, and says where the mistake is', async () => {
    place.write('broken/authz.rego', 'package leasegate.authz\n\ndecision := {\n')
    place.configure('http://127.0.0.1:3000', { policy: { dir: './broken' } })
    const { code, stdout, stderr } = await place.run(['serve', '--config', place.config])
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(/authz\.rego:\d+:\d+/)
    for (const port of Object.values(place.ports)) expect(await connects(port)).toBe(false)
  })

  test('on a port that is taken says which listener wants it', async () => {
    place.configure('http://127.0.0.1:3000')
    await place.serve()
    const second = await place.run(['serve', '--config', place.config])
    expect(second.code).toBe(1)
    expect(second.stderr).toContain(
      `listen.metrics 127.0.0.1:${place.ports.metrics}: another process listens there`,
    )
  })

  test('prints where it listens, its policy and its audit file, and no secret', async () => {
    place.configure('http://127.0.0.1:3000')
    const served = await place.serve()
    expect(await served.stop('SIGTERM')).toBe(0)
    const output = served.output()
    expect(output).toContain(place.origin)
    expect(output).toMatch(/sha256:[0-9a-f]{64}/)
    expect(output).toContain(place.path('data/audit.jsonl'))
    const operatorToken = readFileSync(place.path('data/control.token'), 'utf8').trim()
    const { d } = JSON.parse(readFileSync(place.path('data/broker.key'), 'utf8')) as { d: string }
    for (const secret of [crmToken, operatorToken, d]) expect(output).not.toContain(secret)
  })
})
