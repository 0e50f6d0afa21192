// Who may import whom, read from every import in src. What is here is a rule; the reason stands beside it.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, test } from 'vitest'

const src = join(import.meta.dirname, '../src')
const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'))
const textOf = (path: string) => readFileSync(join(src, path), 'utf8')

interface Import {
  readonly from: string
  /** A path below src, or the name of a package. */
  readonly of: string
  /** Erased by the compiler. */
  readonly typeOnly: boolean
}

const statement = /^(?:import|export)(?:[^'";]*?\sfrom)?\s*'([^']+)'/gm
const expression = /\b(?:import|require|resolve)\(\s*['"`]([^'"`]+)['"`]/g

/** Imports of one file: statements, re-exports, dynamic ones. */
function importsOf(path: string): Import[] {
  const text = textOf(path)
  const found = [...text.matchAll(statement), ...text.matchAll(expression)]
  return found.map(([whole, specifier]) => ({
    from: path,
    of: specifier!.startsWith('.') ? relative(src, join(src, dirname(path), specifier!)) : specifier!,
    typeOnly: /^(?:import|export) type\b/.test(whole),
  }))
}

const imports = files.flatMap(importsOf)
const core = /^(?:(?:enforce|approval|lease|policy|broker|ports)\/|(?:refusals|ports|strict_json)\.ts$)/
const inCore = (path: string) => core.test(path)

test('every import is found: relative ones lead to files that are there', () => {
  const relatives = imports.filter(({ of }) => of.endsWith('.ts'))
  expect(relatives.length).toBeGreaterThan(100)
  expect(relatives.filter(({ of }) => !files.includes(of))).toEqual([])
})

test('the core imports nothing but the core', () => {
  const outward = imports.filter(({ from, of }) => inCore(from) && of.endsWith('.ts') && !inCore(of))
  expect(outward.map(({ from, of }) => `${from} imports ${of}`)).toEqual([])
})

test('the core has the files that the rules are about', () => {
  for (const path of [
    'enforce/pipeline.ts',
    'lease/verify.ts',
    'policy/input.ts',
    'refusals.ts',
    'ports.ts',
  ]) {
    expect(files.filter(inCore)).toContain(path)
  }
  expect(files.filter((path) => !inCore(path))).toContain('http/proxy.ts')
})

test('the request path needs nothing of Node', () => {
  const external = imports.filter(({ from, of }) => from.startsWith('enforce/') && !of.endsWith('.ts'))
  expect(external).toEqual([])
})

test("the agents' side imports nothing but itself: it runs wherever there is fetch", () => {
  const client = imports.filter(({ from }) => from.startsWith('client/'))
  expect(client.length).toBeGreaterThan(5)
  expect(client.filter(({ of }) => !of.startsWith('client/'))).toEqual([])
})

test('nothing but the command line stands above compose', () => {
  const above = imports.filter(
    ({ of }) => of === 'compose.ts' || of === 'cli.ts' || of.startsWith('commands/'),
  )
  const strangers = above.filter(({ from }) => !/^(?:cli\.ts$|commands\/|demo\/)/.test(from))
  expect(strangers).toEqual([])
})

describe('each package behind one door', () => {
  test.each([
    ['undici', 'http/'],
    ['http-proxy', 'http/upgrade.ts'],
    ['ioredis', 'stores/redis_connect.ts'],
    ['node:sqlite', 'stores/sqlite_file.ts'],
    ['@open-policy-agent/opa-wasm', 'policy/evaluate.ts'],
    ['prom-client', 'telemetry/registry.ts'],
    ['jose', 'lease/jose.ts'],
    ['standardwebhooks', 'notify/standard.ts'],
    ['openid-client', 'http/console/openid.ts'],
    ['@simplewebauthn/server', 'http/console/webauthn.ts'],
  ])('%s is imported by one file', (name, place) => {
    const importers = imports
      .filter(({ of }) => of === name || of.startsWith(`${name}/`))
      .map(({ from }) => from)
    expect(importers).toHaveLength(1)
    expect(importers[0]).toMatch(new RegExp(`^${place}`))
  })
})

describe('the request path', () => {
  const enforce = files.filter((path) => path.startsWith('enforce/'))

  test.each([
    ['reads no clock', /\bDate\b/],
    ['rolls no dice', /\bMath\.random\b|\brandomUUID\b/],
    ['looks at no environment', /\bprocess\b/],
    ['writes to no console', /\bconsole\b/],
  ])('%s', (_, banned) => {
    const code = (path: string) => textOf(path).replace(/\/\/.*|\/\*[\s\S]*?\*\//g, '')
    expect(enforce.filter((path) => banned.test(code(path)))).toEqual([])
  })

  test('makes Permit, Committed and OutboundRequest in one place each', () => {
    const makers = (name: string) => files.filter((path) => textOf(path).includes(`new ${name}(`))
    expect(makers('Permit')).toEqual(['enforce/decide.ts'])
    expect(makers('Committed')).toEqual(['enforce/commit.ts'])
    expect(makers('OutboundRequest')).toEqual(['enforce/outbound.ts'])
    for (const name of ['Permit', 'Committed', 'OutboundRequest']) {
      const exported = files.filter((path) =>
        new RegExp(`export (?:default )?class ${name}\\b`).test(textOf(path)),
      )
      expect(exported).toEqual([])
    }
  })
})

test('both forwarders ask for a genuine OutboundRequest', () => {
  const importers = files.filter(
    (path) => path !== 'enforce/outbound.ts' && /\bisOutboundRequest\(/.test(textOf(path)),
  )
  expect(importers.toSorted()).toEqual(['http/forward.ts', 'http/upgrade.ts'])
})

test('http-proxy carries upgrades only: its web() would let a second request past policy', () => {
  expect(files.filter((path) => /\.web\(/.test(textOf(path)))).toEqual([])
})

test('no double cast: it could turn anything into a permit', () => {
  const casting = files.filter((path) => /\bas\s+(?:unknown|any|never)\s+as\b/.test(textOf(path)))
  // The SDK's types name exports that its module keeps under `default`.
  expect(casting).toEqual(['policy/evaluate.ts'])
})

test('only what has no socket stands on a lease without a token', () => {
  const standing = files.filter((path) => /^ {2}readonly standing\b/m.test(textOf(path)))
  expect(standing.toSorted()).toEqual(['enforce/gate.ts', 'http/perform.ts'])
  const performing = imports.filter(({ of, typeOnly }) => of === 'http/perform.ts' && !typeOnly)
  expect(performing.map(({ from }) => from).toSorted()).toEqual(['http/before.ts', 'http/releaser.ts'])
})
