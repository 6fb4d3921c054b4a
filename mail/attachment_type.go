package mail

import (
	"mime"
	"path/filepath"
	"strings"
)

// mediaTypeByName gives the media type for a file name by its extension. A
// table of our own comes first, so that common files get the same type on
// every machine; the system's table is asked for the rest.
func mediaTypeByName(name string) string {
	ext := strings.ToLower(filepath.Ext(name))
	if t, ok := mediaTypes[ext]; ok {
		return t
	}
	if t := mime.TypeByExtension(ext); t != "" {
		return t
	}
	return "application/octet-stream"
}

// mediaTypes are the types of the extensions most often attached, as IANA
// registered them. Text types carry no charset: the octets of a file are of
// whatever charset its maker used. It is never written.
var mediaTypes = map[string]string{
	".7z":   "application/x-7z-compressed",
	".aac":  "audio/aac",
	".avi":  "video/x-msvideo",
	".avif": "image/avif",
	".bin":  "application/octet-stream",
	".bmp":  "image/bmp",
	".bz2":  "application/x-bzip2",
	".css":  "text/css",
	".csv":  "text/csv",
	".doc":  "application/msword",
	".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".eml":  "message/rfc822",
	".epub": "application/epub+zip",
	".flac": "audio/flac",
	".gif":  "image/gif",
	".gz":   "application/gzip",
	".heic": "image/heic",
	".htm":  "text/html",
	".html": "text/html",
	".ico":  "image/vnd.microsoft.icon",
	".ics":  "text/calendar",
	".jpeg": "image/jpeg",
	".jpg":  "image/jpeg",
	".js":   "text/javascript",
	".json": "application/json",
	".log":  "text/plain",
	".md":   "text/markdown",
	".mkv":  "video/matroska",
	".mov":  "video/quicktime",
	".mp3":  "audio/mpeg",
	".mp4":  "video/mp4",
	".mpeg": "video/mpeg",
	".odp":  "application/vnd.oasis.opendocument.presentation",
	".ods":  "application/vnd.oasis.opendocument.spreadsheet",
	".odt":  "application/vnd.oasis.opendocument.text",
	".ogg":  "audio/ogg",
	".p7m":  "application/pkcs7-mime",
	".p7s":  "application/pkcs7-signature",
	".pdf":  "application/pdf",
	".pgp":  "application/pgp-encrypted",
	".png":  "image/png",
	".ppt":  "application/vnd.ms-powerpoint",
	".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	".rar":  "application/vnd.rar",
	".rtf":  "application/rtf",
	".svg":  "image/svg+xml",
	".tar":  "application/x-tar",
	".tif":  "image/tiff",
	".tiff": "image/tiff",
	".tsv":  "text/tab-separated-values",
	".txt":  "text/plain",
	".vcf":  "text/vcard",
	".wav":  "audio/wav",
	".webm": "video/webm",
	".webp": "image/webp",
	".xls":  "application/vnd.ms-excel",
	".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	".xml":  "application/xml",
	".xz":   "application/x-xz",
	".yaml": "application/yaml",
	".yml":  "application/yaml",
	".zip":  "application/zip",
	".zst":  "application/zstd",
}
