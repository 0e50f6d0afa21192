// What the documents say is held against what is there: links, configuration keys, whole snippets, commands
// with their options, refusal codes, metrics, the policy example. Prose that nothing checks goes stale.
import { execFile } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { privateKeyJwt } from '../src/client/index.ts'
import { parseAgents, readAgentFiles } from '../src/config/agent_files.ts'
import { agentSchema } from '../src/config/agent_schema.ts'
import { loadConfig } from '../src/config/load.ts'
import { configSchema } from '../src/config/schema.ts'
import { signer } from '../src/notify/standard.ts'
import { fmt, test as testPolicy } from '../src/policy/toolchain.ts'
import { refusals } from '../src/refusals.ts'
import { metricTable } from '../src/telemetry/metric_table.ts'

const root = resolve(import.meta.dirname, '..')
const documents = [
  ...['README.md', 'SECURITY.md', 'CONTRIBUTING.md', 'CHANGELOG.md'],
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
]
let dir: string

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'leasegate-docs-'))
  cpSync(join(root, 'policies'), join(dir, 'policies'), { recursive: true })
})
afterAll(() => rmSync(dir, { recursive: true }))

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

/** Fenced blocks of a language, their text. */
function blocks(text: string, language: string): string[] {
  return [...text.matchAll(/^```(\S+)\n([\s\S]*?)^```$/gm)]
    .filter(([, found]) => found === language)
    .map(([, , body]) => body!)
}

/** Headings as the anchors that GitHub makes of them. */
function anchors(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
    title!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

describe.each(documents)('%s', (document) => {
  const text = read(document)

  it('links to files and headings that are there', () => {
    const links = [...text.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)].map(([, target]) => target!)
    const broken = links.filter((link) => {
      const [path = '', anchor] = link.split('#')
      const file = path === '' ? join(root, document) : resolve(root, dirname(document), path)
      if (!existsSync(file)) return true
      return anchor !== undefined && !anchors(readFileSync(file, 'utf8')).includes(anchor)
    })
    expect(broken).toEqual([])
  })

  it('names source files that are there', () => {
    const named = [...text.matchAll(/`((?:src|test|scripts|policies|docs|regoc)\/[\w./-]+)`/g)].map(
      ([, path]) => path!,
    )
    expect(named.filter((path) => !existsSync(join(root, path)))).toEqual([])
  })

  it('gives refusal codes the status they have', () => {
    const told = [...text.matchAll(/\b([45]\d\d) `([a-z]+_[a-z_]+)`/g)].map(([, status, code]) => ({
      code,
      status: Number(status),
    }))
    const table: Readonly<Record<string, { readonly status: number }>> = refusals
    expect(told).toEqual(told.map(({ code }) => ({ code, status: table[code!]?.status })))
  })

  it('names metrics that exist', () => {
    const known = new Set<string>(Object.values(metricTable).map(({ name }) => name))
    const named = [...text.matchAll(/\bleasegate_[a-z_]+/g)].map(([name]) => name)
    expect(named.filter((name) => !known.has(name))).toEqual([])
  })
})

describe('configurations in the documents', () => {
  const whole = documents.flatMap((document) =>
    blocks(read(document), 'yaml')
      .filter((yaml) => /^backends:/m.test(yaml))
      .map((yaml) => ({ document, yaml })),
  )

  it('are there to be copied', () => {
    expect(whole.map(({ document }) => document)).toEqual(['README.md', 'docs/operations.md'])
  })

  it.each(whole)('in $document are taken by the loader', ({ yaml }) => {
    const file = join(dir, 'config.yaml')
    writeFileSync(file, yaml)
    const secrets = [...yaml.matchAll(/\$\{env:(\w+)\}/g)].map(([, name]) => [name!, 'secret'])
    expect(loadConfig(file, Object.fromEntries(secrets)).backends).toHaveLength(1)
  })
})

describe('docs/broker.md', () => {
  const files = blocks(read('docs/broker.md'), 'yaml').filter((yaml) => /^# (?:broker|gate)\.yaml/.test(yaml))
  const load = (yaml: string) => {
    const file = join(dir, 'config.yaml')
    writeFileSync(file, `${yaml}\nbackends: ${JSON.stringify(parse(read('config.example.yaml')).backends)}`)
    return loadConfig(file, {}, { credentials: 'policy' })
  }

  it('sets an agent up with what it shows: a key, its file, the configuration', async () => {
    const shown = (name: string) =>
      new RegExp(`<!-- ${name} -->\n\`\`\`\\w+\n([\\s\\S]*?)\`\`\``).exec(read('docs/broker.md'))![1]!
    await promisify(execFile)('sh', ['-c', shown('key')], {
      cwd: dir,
      env: { PATH: `${dirname(process.execPath)}:${process.env.PATH}` },
    })
    writeFileSync(join(dir, 'agents/support-triage.yaml'), shown('agent'))
    const { broker } = load(`public_origin: https://gate.example\n${shown('broker')}`)
    expect(broker.identityProviders).toMatchObject([{ accept: ['id_token', 'logout'], userClaim: 'email' }])
    const agents = parseAgents(await readAgentFiles(join(dir, 'agents')), { workloadIssuers: [] })
    const [credential] = agents.byClientId('support-triage')!.credentials
    expect(credential).toMatchObject({ method: 'private_key_jwt' })
    const authenticate = privateKeyJwt(JSON.parse(readFileSync(join(dir, 'agent.key.json'), 'utf8')))
    expect(await authenticate('support-triage', 'https://broker.example')).toHaveProperty('client_assertion')
  })

  it('shows every key of an agent file in one that is taken', async () => {
    const [file] = blocks(read('docs/broker.md'), 'yaml').filter((yaml) => yaml.includes('delegates_to:'))
    const place = join(dir, 'every-key')
    mkdirSync(place)
    writeFileSync(join(place, 'support-triage.yaml'), file!)
    const other = { client_id: 'billing-lookup', version: '1', env: 'prod', profile: 'support' }
    const credentials = [{ method: 'tls_client_auth', san: 'DNS:billing.agents.example' }]
    writeFileSync(join(place, 'billing-lookup.yaml'), JSON.stringify({ ...other, credentials }))
    const rules = { workloadIssuers: ['https://kubernetes.default.svc.cluster.local'] }
    const agent = parseAgents(await readAgentFiles(place), rules).byClientId('support-triage')!
    expect(agent.credentials.map(({ method }) => method)).toEqual([
      'private_key_jwt',
      'tls_client_auth',
      'self_signed_tls_client_auth',
      'workload_jwt',
    ])
    const keys = Object.keys(z.toJSONSchema(agentSchema, { io: 'input', unrepresentable: 'any' }).properties!)
    expect(keys.filter((key) => !file!.includes(`${key}:`))).toEqual([])
  })

  it('shows two files that fit together', () => {
    const [broker, gate] = files.map(load)
    expect(files).toHaveLength(2)
    expect(gate!.state).toEqual(broker!.state)
    expect(gate!.audit.file).not.toBe(broker!.audit.file)
    const ports = [
      gate!.listen.proxy,
      ...[broker!, gate!].flatMap(({ listen }) => [listen.control, listen.metrics]),
    ]
    expect(new Set(ports.map(({ port }) => port)).size).toBe(5)
    const { issuer } = broker!.broker
    expect(gate!.issuers).toMatchObject([{ issuer, jwks: { url: `${issuer}/jwks` } }])
    expect(gate!.issuers[0]!.audience).toBe(broker!.issuers[0]!.audience)
  })
})

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly additionalProperties?: JsonSchema | boolean
  readonly items?: JsonSchema
}

/** Paths of everything below a schema that has no properties of its own, `[]` for items, `*` for any name. */
function leaves(schema: JsonSchema, path = ''): string[] {
  const { properties, additionalProperties: any, items } = schema
  const below = path === '' ? '' : `${path}.`
  if (properties !== undefined) {
    return Object.entries(properties).flatMap(([name, inner]) => leaves(inner, `${below}${name}`))
  }
  if (items?.properties !== undefined) return leaves(items, `${path}[]`)
  if (typeof any === 'object' && any.properties !== undefined) return leaves(any, `${below}*`)
  return [path]
}

describe('docs/configuration.md', () => {
  const text = read('docs/configuration.md')
  const schema = z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' }) as JsonSchema
  const known = leaves(schema).map((path) => path.replace('backends.*.operations[].', ''))

  it('has every key of the schema', () => {
    expect(known.filter((key) => !text.includes(`\`${key}\``))).toEqual([])
  })

  it('has no key that the schema lacks', () => {
    const sections = new Set(['issuers[].jwks', 'backends.*.operations'])
    const rows = [...text.matchAll(/^\| `([^`]+)` \|/gm)].map(([, key]) => key!)
    expect(rows.length).toBeGreaterThan(60)
    expect(rows.filter((key) => !known.includes(key) && !sections.has(key))).toEqual([])
  })

  it('has every key of the example, which starts', () => {
    const keys = new Set<string>()
    const walk = (value: unknown): void => {
      if (Array.isArray(value)) value.forEach(walk)
      else if (typeof value === 'object' && value !== null) {
        for (const [key, inner] of Object.entries(value)) {
          keys.add(key)
          walk(inner)
        }
      }
    }
    walk(parse(read('config.example.yaml')))
    keys.delete('crm')
    expect([...keys].filter((key) => !new RegExp(`[\`.]${key}[\`.[]`).test(text))).toEqual([])
    expect(loadConfig(join(root, 'config.example.yaml'), { CRM_TOKEN: 'secret' }).backends).toHaveLength(1)
  })
})

describe('docs/approvals.md', () => {
  const text = read('docs/approvals.md')

  it('shows whom to tell as the loader takes it', () => {
    const [yaml] = blocks(text, 'yaml').filter((block) => /^notify:/m.test(block))
    const file = join(dir, 'config.yaml')
    writeFileSync(
      file,
      `${read('config.example.yaml').replace(/^(?:notify|console):.*(?:\n .*)*/gm, '')}\n${yaml}`,
    )
    const env = {
      CRM_TOKEN: 'secret',
      WEBHOOK_SECRET: `whsec_${Buffer.alloc(32).toString('base64')}`,
      SLACK_WEBHOOK_URL: 'https://hooks.example/services/x',
    }
    const { notify } = loadConfig(file, env)
    expect(notify.map(({ format }) => format)).toEqual(['standard', 'slack'])
    expect(notify[0]!.events).toEqual([...text.matchAll(/^\| `(\w+\.\w+)` \|/gm)].map(([, event]) => event))
  })

  it('shows a receiver that takes what the gate signs and nothing else', async () => {
    const [, receiver] = /<!-- receiver -->\n```ts\n([\s\S]*?)```/.exec(text)!
    const secret = `whsec_${Buffer.alloc(32).toString('base64')}`
    const file = join(root, 'node_modules/.cache/leasegate', `receiver-${process.pid}.mjs`)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, receiver!.replace('process.env.WEBHOOK_SECRET', `'${secret}'`))
    const receive = await import(file)
    rmSync(file)
    const headers = signer(secret)('msg_1', '{"type":"approval.requested"}', Date.now())
    expect(receive.read('{"type":"approval.requested"}', headers)).toEqual({ type: 'approval.requested' })
    expect(() => receive.read('{"type":"approval.decided"}', headers)).toThrow('No matching signature found')
  })
})

describe('docs/policy.md', () => {
  const text = read('docs/policy.md')

  it('shows a rule that is formatted, checked and tested in both engines', { timeout: 60_000 }, async () => {
    const example = (name: string) =>
      new RegExp(`<!-- ${name} -->\n\`\`\`rego\n([\\s\\S]*?)\`\`\``).exec(text)![1]!
    const policies = join(dir, 'policies')
    const edit = (file: string, change: (source: string) => string) =>
      writeFileSync(join(policies, file), change(readFileSync(join(policies, file), 'utf8')))
    const before = await testPolicy(policies)
    edit('authz.rego', (source) =>
      `${source}\n${example('rule')}\n${example('budget')}`.replace(
        '\twithin_call_rate\n}',
        `\twithin_call_rate\n${example('condition')}}`,
      ),
    )
    edit('authz_test.rego', (source) => `${source}\n${example('tests')}\n${example('budget tests')}`)
    expect(await fmt(policies, { write: false })).toEqual({ diagnostics: [], changed: [] })
    const after = await testPolicy(policies)
    expect(after.diagnostics).toEqual([])
    expect(after.tests).toBe(before.tests! + 5)
  })
})

describe('the builtins in docs/policy.md', () => {
  const [, allowed = '', other = ''] =
    /## What it may call\n[\s\S]*?\n\n(- [\s\S]*?)\n\n[\s\S]*?Any other,([\s\S]*?)is an error/.exec(
      read('docs/policy.md'),
    ) ?? []
  const names = (text: string) => [...text.matchAll(/`([a-z][\w.]*)`/g)].map(([, name]) => name!)
  const native = /strings\.Fields\(`([^`]*)`\)/.exec(read('regoc/capabilities.go'))![1]!.split(/\s+/)

  it('are allowed where it says so, and only there', () => {
    expect(names(allowed).length).toBeGreaterThan(30)
    expect(names(allowed).filter((name) => !native.includes(name))).toEqual([])
    expect(names(other).length).toBeGreaterThan(5)
    expect(names(other).filter((name) => native.includes(name))).toEqual([])
  })
})

/** `leasegate …` lines of shell blocks, continuations joined, comments and redirections left out. */
function commands(): string[] {
  return documents.flatMap((document) =>
    [...blocks(read(document), 'sh'), ...blocks(read(document), 'console')]
      .flatMap((block) => block.replaceAll('\\\n', ' ').split(/\n|&&/))
      .map((line) => line.replace(/^\$ /, '').trim())
      .filter((line) => line.startsWith('leasegate '))
      .map((line) => line.replace(/\s#.*$/, '')),
  )
}

describe('commands', () => {
  it('exist, with the options they are shown with', { timeout: 60_000 }, async () => {
    const helps = new Map<string, Promise<string>>()
    const helpOf = (command: string) => {
      const args = [join(root, 'src/cli.ts'), ...command.split(' '), '--help']
      const help = promisify(execFile)(process.execPath, args).then(({ stdout }) => stdout)
      helps.set(command, help)
      return help
    }
    const shown = commands()
    expect(shown.length).toBeGreaterThan(10)
    const wrong: string[] = []
    for (const line of shown) {
      const [, command] = /^leasegate ((?:approvals|lease|keys|drill|policy|config) [a-z]+|[a-z-]+)/.exec(
        line,
      )!
      const help = await (helps.get(command!) ?? helpOf(command!))
      const options = line.replace(/'[^']*'/g, '').match(/(?<=\s)--?[a-z][a-z-]*/g) ?? []
      const missing = options.filter((option) => !new RegExp(`^ .*${option}\\b`, 'm').test(help))
      if (!help.startsWith(`Usage: leasegate ${command}`) || missing.length > 0) wrong.push(line)
    }
    expect(wrong).toEqual([])
  })

  it('of npm are scripts of the package', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const run = documents.flatMap((document) =>
      [...read(document).matchAll(/npm run (?:-s )?([a-z]+)/g)].map(([, name]) => name!),
    )
    expect(run.filter((name) => scripts[name] === undefined)).toEqual([])
  })
})

describe('the container', () => {
  it('is built of files that are there and that the build context has', () => {
    const sent = new Set(read('.dockerignore').match(/(?<=^!).+$/gm))
    const isSent = (path: string) => sent.has(path.split('/')[0]!)
    const copied = [...read('Dockerfile').matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, sources]) =>
      sources!.split(' '),
    )
    expect(copied.length).toBeGreaterThan(5)
    expect(copied.filter((source) => !existsSync(join(root, source)) || !isSent(source))).toEqual([])
  })

  it('has a compose file whose services mount the paths the image starts with', () => {
    const { services } = parse(read('compose.example.yaml')) as {
      services: { leasegate: { volumes: string[] } }
    }
    const [, config] = /^CMD \["serve", "-c", "([^"]+)"\]$/m.exec(read('Dockerfile'))!
    expect(services.leasegate.volumes).toContain(`./${basename(config!)}:${config}:ro`)
  })
})
