// A packed OPA bundle and the keys that may have signed it in; what is in it out: Rego, data, a module.
// Nothing in it is parsed before OPA's own code has found its signature and the hash of every file right.
// Never accepts an unsigned bundle, a delta bundle, or an entry that a file system could put elsewhere.
//
//go:build js && wasm

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/loader/filter"
	"github.com/open-policy-agent/opa/v1/util"
)

const (
	invalid          = "bundle_invalid"
	signatureInvalid = "bundle_signature_invalid"
	signaturesFile   = ".signatures.json"
	maxUnpackedBytes = 128 << 20
	maxFiles         = 10_000
)

var errTooLarge = fmt.Errorf("larger than %d MiB unpacked", maxUnpackedBytes>>20)

// sealedBundle is a bundle as it came, and what its signature is checked against.
type sealedBundle struct {
	Archive []byte                       `json:"archive"`
	Keys    map[string]*bundle.KeyConfig `json:"keys"`
	Scope   string                       `json:"scope"`
}

// openedBundle is what a bundle holds, once its signature is known to be good.
type openedBundle struct {
	Files    map[string]string `json:"files"`
	Data     map[string]any    `json:"data"`
	Wasm     []byte            `json:"wasm,omitempty"`
	Revision string            `json:"revision"`
}

// archived is one regular file of the archive; its name has no leading slash.
type archived struct {
	name    string
	content []byte
}

// openBundle unpacks, verifies, then reads. Only what concerns the signature is `bundle_signature_invalid`.
func openBundle(req request) reply {
	files, err := unpack(req.Bundle.Archive)
	if err != nil {
		return refuseBundle(invalid, err)
	}
	if err := verify(files, req.Bundle); err != nil {
		return refuseBundle(signatureInvalid, err)
	}
	opened, err := readVerified(files)
	var mistakes ast.Errors
	switch {
	case errors.As(err, &mistakes):
		out := refuse(mistakes)
		for i := range out.Errors {
			out.Errors[i].File = strings.TrimPrefix(out.Errors[i].File, "/")
		}
		return out
	case err != nil:
		return refuseBundle(invalid, err)
	}
	return reply{OK: true, Errors: []diagnostic{}, Bundle: opened}
}

func refuseBundle(code string, err error) reply {
	return reply{Errors: []diagnostic{{Code: code, Message: err.Error()}}}
}

// unpack lists the regular files in the order of the archive, within bounds on their size and number.
func unpack(packed []byte) ([]archived, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("no gzip archive: %w", err)
	}
	limited := &io.LimitedReader{R: unzipped, N: maxUnpackedBytes}
	archive := tar.NewReader(limited)
	// A sparse file is larger than the bytes it stands for, so contents have a bound of their own.
	left := int64(maxUnpackedBytes)
	names := map[string]bool{}
	var files []archived
	for {
		header, err := archive.Next()
		switch {
		case err == io.EOF:
			return files, drain(limited)
		case err != nil && limited.N <= 0:
			return nil, errTooLarge
		case err != nil:
			return nil, fmt.Errorf("the archive is damaged: %w", err)
		case header.Typeflag == tar.TypeDir:
			continue
		}
		name, err := entryName(header)
		if err != nil {
			return nil, err
		}
		if left -= header.Size; left < 0 {
			return nil, errTooLarge
		}
		content, err := io.ReadAll(archive)
		switch {
		case err != nil && limited.N <= 0:
			return nil, errTooLarge
		case err != nil:
			return nil, fmt.Errorf("the archive is damaged at %q: %w", name, err)
		case names[name]:
			return nil, fmt.Errorf("%q is there twice", name)
		case len(files) == maxFiles:
			return nil, fmt.Errorf("more than %d files", maxFiles)
		}
		names[name] = true
		files = append(files, archived{name, content})
	}
}

// drain reads on to the checksum at the very end: an archive that was cut off there is damaged too.
func drain(limited *io.LimitedReader) error {
	if _, err := io.Copy(io.Discard, limited); err != nil {
		return fmt.Errorf("the archive is damaged: %w", err)
	}
	if limited.N <= 0 {
		return errTooLarge
	}
	return nil
}

// entryName is the path of a regular file as the signature names it, without the leading slash that OPA writes.
// Links, devices and paths with dots in them are refused: no pipeline of OPA makes them, and two programs could
// read them differently.
func entryName(header *tar.Header) (string, error) {
	name := strings.TrimPrefix(strings.TrimPrefix(header.Name, "./"), "/")
	switch {
	case header.Typeflag != tar.TypeReg:
		return "", fmt.Errorf("%q is no regular file", header.Name)
	case name == "" || path.Clean("/"+name) != "/"+name || strings.Contains(name, "\\"):
		return "", fmt.Errorf("%q is no path that belongs in a bundle", header.Name)
	case path.Base(name) == "patch.json":
		return "", errors.New("a delta bundle (patch.json): publish the whole bundle")
	case strings.HasSuffix(name, bundle.SignaturesFile) && name != signaturesFile:
		return "", fmt.Errorf("%q: signatures belong into %s", name, signaturesFile)
	}
	return name, nil
}

// verify checks, in order: there is a signature, by a key of ours and under our scope, over these very files,
// each with a hash that still keeps two contents apart.
func verify(files []archived, sealed sealedBundle) error {
	at := slices.IndexFunc(files, func(f archived) bool { return f.name == signaturesFile })
	if at < 0 {
		return errors.New("it is not signed: " + signaturesFile + " is missing")
	}
	var signatures bundle.SignaturesConfig
	if err := util.NewJSONDecoder(bytes.NewReader(files[at].content)).Decode(&signatures); err != nil {
		return fmt.Errorf("%s: %w", signaturesFile, err)
	}
	keyID := ""
	if len(sealed.Keys) == 1 && !slices.ContainsFunc(signatures.Signatures, namesKey) {
		keyID = util.KeysSorted(sealed.Keys)[0]
	}
	signed, err := bundle.VerifyBundleSignature(signatures,
		bundle.NewVerificationConfig(sealed.Keys, keyID, sealed.Scope, nil))
	if err != nil {
		return err
	}
	for _, info := range signed {
		if algorithm := bundle.HashingAlgorithm(info.Algorithm); algorithm == bundle.MD5 || algorithm == bundle.SHA1 {
			return fmt.Errorf("%s is hashed with %s, which is broken: sign again", info.Name, algorithm)
		}
	}
	for _, file := range files {
		if file.name == signaturesFile {
			continue
		}
		if err := bundle.VerifyBundleFile(file.name, *bytes.NewBuffer(file.content), signed); err != nil {
			return err
		}
	}
	if missing := util.KeysSorted(signed); len(missing) > 0 {
		return fmt.Errorf("signed, and not in the bundle: %s", strings.Join(missing, ", "))
	}
	return nil
}

// namesKey is whether a signature says which key made it. `opa sign` without claims says nothing, and then the
// only key there is must be the one.
func namesKey(token string) bool {
	var named struct {
		Kid   string `json:"kid"`
		KeyID string `json:"keyid"`
	}
	parts := strings.Split(token, ".")
	for _, part := range parts[:min(2, len(parts))] {
		if text, err := base64.RawURLEncoding.DecodeString(part); err == nil {
			// What is no JSON names nothing, and OPA refuses it next.
			_ = json.Unmarshal(text, &named)
		}
	}
	return named.Kid != "" || named.KeyID != ""
}

// readVerified lets OPA read the files: manifest, roots, Rego version, data.
func readVerified(files []archived) (*openedBundle, error) {
	read, err := bundle.NewCustomReader(&memoryLoader{files: files}).
		WithSkipBundleVerification(true).
		WithProcessAnnotations(true).
		WithRegoVersion(ast.RegoV1).
		WithSizeLimitBytes(maxUnpackedBytes).
		Read()
	if err != nil {
		return nil, err
	}
	opened := &openedBundle{Files: map[string]string{}, Data: read.Data, Revision: read.Manifest.Revision}
	switch {
	case len(read.WasmModules) > 1:
		return nil, errors.New("more than one policy.wasm")
	case len(read.WasmModules) == 1:
		// The Rego beside a module is what it was made from.
		opened.Wasm = read.WasmModules[0].Raw
	case len(read.Modules) == 0 && len(read.PlanModules) > 0:
		return nil, errors.New("built with -t plan: build it with -t rego or -t wasm")
	case len(read.Modules) == 0:
		return nil, errors.New("neither Rego nor a policy.wasm in it")
	default:
		for _, module := range read.Modules {
			opened.Files[strings.TrimPrefix(module.Path, "/")] = string(module.Raw)
		}
	}
	return opened, nil
}

// memoryLoader hands files to OPA's bundle reader, rooted as the manifest names them.
type memoryLoader struct {
	files []archived
}

func (l *memoryLoader) NextFile() (*bundle.Descriptor, error) {
	if len(l.files) == 0 {
		return nil, io.EOF
	}
	file := l.files[0]
	l.files = l.files[1:]
	return bundle.NewDescriptor("/"+file.name, "/"+file.name, bytes.NewBuffer(file.content)), nil
}

func (l *memoryLoader) WithFilter(filter.LoaderFilter) bundle.DirectoryLoader   { return l }
func (l *memoryLoader) WithPathFormat(bundle.PathFormat) bundle.DirectoryLoader { return l }
func (l *memoryLoader) WithSizeLimitBytes(int64) bundle.DirectoryLoader         { return l }
func (l *memoryLoader) WithFollowSymlinks(bool) bundle.DirectoryLoader          { return l }
