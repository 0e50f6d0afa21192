// Writes LICENSES/THIRD_PARTY.txt: every Go module that is linked into regoc.wasm with its licence and notice
// texts, equal texts once. In: `go list` and the module cache. Run by build.sh with its environment.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

const go = (...args) => execFileSync('go', args, { cwd: import.meta.dirname, encoding: 'utf8' }).trim()

// A package may carry a licence of its own beside that of its module, so every directory on the way counts.
const format = '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}\t{{$.Dir}}{{end}}{{end}}'
const packages = go('list', '-deps', '-f', format, '.')
  .split('\n')
  .filter((line) => line !== '')
const goroot = go('env', 'GOROOT')
const places = new Map([[goroot, `Go ${go('env', 'GOVERSION')}`]])
for (const line of packages.sort()) {
  const [module, root, dir] = line.split('\t')
  for (let at = dir; at.startsWith(root); at = dirname(at)) {
    places.set(at, at === root ? module : `${module} ${relative(root, at)}`)
  }
}

const namesByText = new Map()
const found = new Set()
for (const [dir, name] of places) {
  const files = readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isFile() && /^(licen[sc]e|copying|notice)[-.\w]*$/i.test(entry.name))
    .filter((entry) => !/\.(go|rego)$/.test(entry.name))
  for (const { name: file } of files) {
    found.add(name)
    const text = readFileSync(join(dir, file), 'utf8').replaceAll('\r\n', '\n').trim()
    namesByText.set(text, [...(namesByText.get(text) ?? []), `${name} (${file})`])
  }
}
for (const name of places.values()) {
  const module = name.split(' ', 2).join(' ')
  if (!found.has(module)) throw new Error(`${module} has no licence file`)
}

// OPA's runtime for compiled policies is linked in as a binary; its C sources carry their terms themselves.
const opa = [...places].find(
  ([, name]) => name.startsWith('github.com/open-policy-agent/opa ') && !/ .* /.test(name),
)
for (const source of ['libmpdec/mpdecimal.c', 'lib/printf.c', 're2/re2/re2.h']) {
  const text = readFileSync(join(opa[0], 'wasm/src', source), 'utf8')
  const [comment] = text.match(/^(\/\*[\s\S]*?\*\/|(\/\/.*\n)+)/)
  namesByText.set(comment.trim(), [`${opa[1]} wasm/src/${source}`])
}

const rule = '='.repeat(80)
const sections = [...namesByText]
  .map(([text, names]) => [names.sort(), text])
  .sort(([a], [b]) => (a[0] < b[0] ? -1 : 1))
  .map(([names, text]) => `${rule}\n${names.join('\n')}\n${rule}\n\n${text}\n`)
mkdirSync(join(import.meta.dirname, 'LICENSES'), { recursive: true })
writeFileSync(join(import.meta.dirname, 'LICENSES', 'THIRD_PARTY.txt'), sections.join('\n'))
