// `leasegate policy init`: a first policy for backends of the configuration, written into an empty place. In:
// the configuration and the policies that ship. Out: files that format, check and pass. Never overwrites one.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import type { Command } from 'commander'
import { loadConfig } from '../../config/load.ts'
import type { Config } from '../../config.ts'
import type { Backend } from '../../enforce/operation.ts'
import { readPolicyFiles } from '../../policy/sources.ts'
import { starter } from '../../policy/starter.ts'
import { packageRoot } from '../../version.ts'
import { say, style, UsageError } from '../terminal.ts'
import { requireDirectory } from './directory.ts'

/** Taken from the policies that ship, byte for byte: the rules and their tests, and what editors read. */
const shipped = [
  ...['authz.rego', 'authz_test.rego', 'issue.rego', 'issue_test.rego', 'data/scale.json'],
  ...['input.schema.json', 'issue_input.schema.json', 'input.json', '.regal/config.yaml'],
]

interface InitOptions {
  readonly config: string
  readonly dir?: string
}

/** Adds `policy init <backend...>`. */
export function addInitCommand(policy: Command): void {
  policy
    .command('init')
    .description('write a commented first policy for backends of the configuration')
    .argument('<backend...>', 'names under backends in the configuration')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .option('-d, --dir <dir>', 'where to write it; default: policy.dir of the configuration')
    .action(run)
}

async function run(names: readonly string[], { config: file, dir }: InitOptions): Promise<void> {
  const config = loadConfig(file, process.env, { credentials: 'unused', policyDir: 'absent' })
  const backends = [...new Set(names)].map((name) => backendOf(config, name, file))
  const target = dir ?? (relative('', config.policy.dir) || '.')
  const files = new Map(
    shipped.map((path) => [path, readFileSync(join(packageRoot, 'policies', path), 'utf8')]),
  )
  for (const [path, text] of Object.entries(starter(backends))) files.set(path, text)
  await requireEmpty(target, [...files.keys()])
  for (const [path, text] of files) {
    mkdirSync(dirname(join(target, path)), { recursive: true })
    // `wx`: a file that has appeared since is not overwritten either.
    writeFileSync(join(target, path), text, { flag: 'wx' })
    say(`${style.green('wrote')} ${join(target, path)}`)
  }
  say(`
Now replace the names marked SAMPLE in ${join(target, 'data')} and operations_test.rego, then:
  leasegate policy test ${target}
  leasegate serve -c ${file}`)
}

function backendOf({ backends }: Config, name: string, file: string): Backend {
  const found = backends.find((backend) => backend.name === name)
  if (found !== undefined) return found
  const known = backends.map((backend) => backend.name).join(', ')
  throw new UsageError(`${file} has no backend ${name}; it has ${known}`)
}

/** Throws a UsageError that lists what is in the way: any part of a policy, or a file of the starter. */
async function requireEmpty(dir: string, paths: readonly string[]): Promise<void> {
  if (!existsSync(dir)) return
  requireDirectory(dir)
  const policy = [...(await readPolicyFiles(dir)).keys()]
  const there = new Set([...policy, ...paths.filter((path) => existsSync(join(dir, path)))])
  if (there.size === 0) return
  const listed = [...there].map((path) => `  ${join(dir, path)}`).join('\n')
  throw new UsageError(`these files are here already, and nothing was written:\n${listed}`)
}
