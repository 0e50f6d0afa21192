// In: a policy directory. Out: what lies in it: Rego sources or an already compiled module, and the tree
// under `data`. Never follows a hidden entry (a ConfigMap keeps its versions in those) and never guesses
// between two policies.
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { LineCounter, parseDocument } from 'yaml'
import { parseStrictJson } from '../strict_json.ts'
import { readBundle } from './bundle.ts'
import { type Diagnostic, fileError, PolicyError } from './diagnostic.ts'
import { sizeLimits, tooLarge, utf8 } from './source_text.ts'

/** A policy as its authors wrote it. */
export interface PolicySources {
  /** Texts of the `.rego` files by path relative to the directory. */
  readonly files: Readonly<Record<string, string>>
  /** Documents under `data`. */
  readonly data: Tree
  /** A module compiled elsewhere, which then stands in place of `files`. */
  readonly wasm?: Uint8Array
  /** Beside `wasm`: the same policy with the rules that are marked shadow, when there are any. */
  readonly shadow?: Uint8Array
  /** The rules marked shadow, with file and line, for people. */
  readonly shadowRules?: readonly string[]
}

/** A JSON object. */
export type Tree = Readonly<Record<string, unknown>>

/** A data document: the file to name in messages, its place under `data`, its bytes. */
export interface DataFile {
  readonly file: string
  readonly keys: readonly string[]
  readonly bytes: Uint8Array
}

const dataSuffix = /\.(json|yaml|yml)$/

/** The bytes of every file that belongs to a policy, by path relative to its directory, sorted by path. */
export type PolicyFiles = ReadonlyMap<string, Uint8Array>

/**
 * Reads what `parsePolicy` needs. Rejects with what the file system says, and with a `PolicyError`, before a
 * byte is read, when a file is too large.
 */
export async function readPolicyFiles(dir: string): Promise<PolicyFiles> {
  const sizes = new Map(
    [...(await listFiles(dir))].filter(
      ([path]) =>
        path.endsWith('.rego') || isCompiled(path) || (path.startsWith('data/') && dataSuffix.test(path)),
    ),
  )
  const problem = tooLarge(sizes)
  if (problem !== undefined) throw new PolicyError([problem])
  return new Map(
    await Promise.all(
      [...sizes.keys()].map(async (path) => [path, await readFile(join(dir, path))] as const),
    ),
  )
}

/**
 * Takes every `.rego` file, and every JSON or YAML file below `data/` (`data/a/b.json` is `data.a.b`). In
 * place of `.rego` files there may be one `policy.wasm`, or one OPA bundle `*.tar.gz` with its own data.
 * Throws `PolicyError` with every problem found.
 */
export function parsePolicy(files: PolicyFiles): PolicySources {
  const paths = [...files.keys()]
  const rego = paths.filter((path) => path.endsWith('.rego'))
  const [prebuilt, other = rego[0]] = paths.filter(isCompiled)
  if (prebuilt !== undefined && other !== undefined) {
    throw fileError(prebuilt, 'policy_ambiguous', `${other} is here as well; keep one of them`)
  }
  if (prebuilt?.endsWith('.tar.gz')) {
    const bundle = readBundle(prebuilt, files.get(prebuilt)!)
    return { files: {}, data: dataTree(bundle.data), wasm: bundle.wasm }
  }
  const data = dataTree(
    paths
      .filter((path) => path.startsWith('data/') && dataSuffix.test(path))
      .map((file) => ({
        file,
        keys: file.replace(dataSuffix, '').split('/').slice(1),
        bytes: files.get(file)!,
      })),
  )
  if (prebuilt !== undefined) return { files: {}, data, wasm: files.get(prebuilt)! }
  return { files: texts(rego.map((path) => [path, files.get(path)!])), data }
}

function texts(files: readonly (readonly [path: string, bytes: Uint8Array])[]): Record<string, string> {
  const out: [string, string][] = []
  const problems: Diagnostic[] = []
  for (const [path, bytes] of files) {
    const read = utf8(path, bytes)
    if ('code' in read) problems.push(read)
    else out.push([path, read.text])
  }
  if (problems.length > 0) throw new PolicyError(problems)
  return Object.fromEntries(out)
}

/** `readPolicyFiles`, then `parsePolicy`. */
export async function readPolicy(dir: string): Promise<PolicySources> {
  return parsePolicy(await readPolicyFiles(dir))
}

function isCompiled(path: string): boolean {
  return path === 'policy.wasm' || /^[^/]+\.tar\.gz$/.test(path)
}

/** The files below `dir` with their sizes, sorted by path, symbolic links resolved. */
async function listFiles(dir: string, below = ''): Promise<[path: string, size: number][]> {
  const found: [string, number][] = []
  for (const name of (await readdir(join(dir, below))).sort()) {
    if (name.startsWith('.')) continue
    const path = below + name
    const entry = await stat(join(dir, path))
    if (entry.isDirectory()) found.push(...(await listFiles(dir, `${path}/`)))
    else if (entry.isFile()) found.push([path, entry.size])
  }
  return found
}

/** Puts every document in its place. Two files may share an object, never a member of one. */
function dataTree(documents: readonly DataFile[]): Tree {
  const tree = {}
  const problems: Diagnostic[] = []
  for (const { file, keys, bytes } of documents) {
    const read = parseData(file, bytes)
    if ('code' in read) problems.push(read)
    else if (
      !merge(
        tree,
        keys.reduceRight<unknown>((inner, key) => ({ [key]: inner }), read.value),
      )
    ) {
      const message = 'holds no object, or a part of data that another file holds'
      problems.push({ file, line: 1, column: 1, code: 'data_conflict', message })
    }
  }
  if (problems.length > 0) throw new PolicyError(problems)
  return tree
}

function parseData(file: string, bytes: Uint8Array): { value: unknown } | Diagnostic {
  const read = utf8(file, bytes)
  if ('code' in read) return read
  return file.endsWith('.json') ? parseJson(file, read.text) : parseYaml(file, read.text)
}

function parseJson(file: string, text: string): { value: unknown } | Diagnostic {
  const read = parseStrictJson(text, { maxBytes: sizeLimits.data, maxDepth: 64 })
  if (read.ok) return read
  // JSON is YAML too, and that parser knows positions.
  const found = parseYaml(file, text)
  const { line, column } = 'code' in found ? found : { line: 1, column: 1 }
  return { file, line, column, code: 'data_invalid', message: read.problem }
}

function parseYaml(file: string, text: string): { value: unknown } | Diagnostic {
  const lines = new LineCounter()
  const document = parseDocument(text, { uniqueKeys: true, lineCounter: lines, prettyErrors: false })
  const problem = [...document.errors, ...document.warnings][0]
  if (problem !== undefined) {
    const { line, col } = lines.linePos(problem.pos[0])
    return { file, line, column: col, code: 'data_invalid', message: problem.message }
  }
  try {
    return { value: document.toJS({ maxAliasCount: 100 }) }
  } catch {
    return { file, line: 1, column: 1, code: 'data_invalid', message: 'too many aliases' }
  }
}

/** Adds the members of `from` to `into`; false when either is no object or one of them is there already. */
function merge(into: unknown, from: unknown): boolean {
  if (!isTree(into) || !isTree(from)) return false
  return Object.entries(from).every(([key, value]) => {
    if (Object.hasOwn(into, key)) return merge(into[key], value)
    Object.defineProperty(into, key, { value, writable: true, enumerable: true, configurable: true })
    return true
  })
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
