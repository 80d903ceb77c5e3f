package api

import (
	"encoding/base64"
	"sort"
	"strconv"

	"github.com/labstack/echo/v4"
)

// Sizes of a page, in items.
const (
	defaultPage = 100
	maxPage     = 1000
)

// page is a part of a list that is sorted by id. NextCursor is empty on the last page.
type page[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"next_cursor"`
}

// paginate cuts the page that the request asks for out of all, which is sorted by id, and shows each item by view. A
// cursor is the id after which the page starts, so it stays good when items come and go.
func paginate[S, T any](c echo.Context, all []S, id func(S) string, view func(S) T) (page[T], error) {
	limit, after, err := pageParams(c)
	if err != nil {
		return page[T]{}, err
	}
	start := sort.Search(len(all), func(i int) bool { return id(all[i]) > after })
	end := min(start+limit, len(all))
	p := page[T]{Items: make([]T, 0, end-start)}
	for _, item := range all[start:end] {
		p.Items = append(p.Items, view(item))
	}
	if end < len(all) {
		p.NextCursor = base64.RawURLEncoding.EncodeToString([]byte(id(all[end-1])))
	}
	return p, nil
}

func pageParams(c echo.Context) (limit int, after string, err error) {
	limit = defaultPage
	if text := c.QueryParam("limit"); text != "" {
		limit, err = strconv.Atoi(text)
		if err != nil || limit < 1 || limit > maxPage {
			return 0, "", fieldError("limit", "must be 1 to %d", maxPage)
		}
	}
	cursor, err := base64.RawURLEncoding.DecodeString(c.QueryParam("cursor"))
	if err != nil {
		return 0, "", fieldError("cursor", "is not a cursor that this server gave")
	}
	return limit, string(cursor), nil
}
