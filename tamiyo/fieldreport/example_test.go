package fieldreport_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/fieldreport"
)

// Example keeps a field report, which is published first.
func Example() {
	folder, err := os.MkdirTemp("", "fieldreport-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	ctx := context.Background()
	log, err := fieldreport.Open(ctx, filepath.Join(folder, "field_reports.log"), fieldreport.Config{
		Publish: func(_ context.Context, report *leyline.FieldReport) error {
			fmt.Println("published", report.GetReportId())
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(log.Keep(ctx, &leyline.FieldReport{ReportId: "one", BlueprintId: "BP021", IssuedAt: timestamppb.Now()}))
	all, err := log.All()
	fmt.Println(len(all), err, "kept,", log.Published(), "published:", log.Close())
	// Output:
	// published one
	// <nil>
	// 1 <nil> kept, 1 published: <nil>
}
