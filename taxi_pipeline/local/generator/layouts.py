"""The CSV files as published: every header of every era, line by line.

The headers are declared a second time on purpose, apart from the names in `services`: a mistake in
one is found by the other.
"""

from dataclasses import dataclass

from taxi_pipeline.local.generator.dated import Dated
from taxi_pipeline.tlc.month import Month

_BLANK_LINE = "\n\r\n"
_WIDER = ",,\r\n"  # rows of two cells more than the header has


@dataclass(frozen=True)
class Layout:
    """How the CSV files of some months are laid out.

    `header_end` holds the blank lines that follow the header, `row_end` the commas that end a row
    wider than the header. `exact`: numbers have 17 significant digits, such as 2.6299999999999999.
    `unfilled` names a column that is there but always empty.
    """

    header: str
    header_end: str = "\r\n"
    row_end: str = "\r\n"
    quoted: bool = False
    exact: bool = False
    unfilled: str = ""

    @property
    def names(self) -> list[str]:
        """The columns' names, without the spaces around them."""
        return [name.strip() for name in self.header.split(",")]

    @property
    def quote(self) -> str:
        """What stands on both sides of each cell."""
        return '"' if self.quoted else ""

    @property
    def separator(self) -> str:
        """What stands between two cells."""
        return f"{self.quote},{self.quote}"

    @property
    def top(self) -> str:
        """Everything above the first row."""
        header = self.header.replace(",", self.separator)
        return f"{self.quote}{header}{self.quote}{self.header_end}"


_YELLOW_2009 = (
    "vendor_name,Trip_Pickup_DateTime,Trip_Dropoff_DateTime,Passenger_Count,Trip_Distance,"
    "Start_Lon,Start_Lat,Rate_Code,store_and_forward,End_Lon,End_Lat,Payment_Type,Fare_Amt,"
    "surcharge,mta_tax,Tip_Amt,Tolls_Amt,Total_Amt"
)
_YELLOW_2010 = (
    "vendor_id,pickup_datetime,dropoff_datetime,passenger_count,trip_distance,pickup_longitude,"
    "pickup_latitude,rate_code,store_and_fwd_flag,dropoff_longitude,dropoff_latitude,payment_type,"
    "fare_amount,surcharge,mta_tax,tip_amount,tolls_amount,total_amount"
)
_YELLOW_2015 = (
    "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,trip_distance,"
    "pickup_longitude,pickup_latitude,RateCodeID,store_and_fwd_flag,dropoff_longitude,"
    "dropoff_latitude,payment_type,fare_amount,extra,mta_tax,tip_amount,tolls_amount,"
    "improvement_surcharge,total_amount"
)
_YELLOW_2016 = (
    "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,trip_distance,RatecodeID,"
    "store_and_fwd_flag,PULocationID,DOLocationID,payment_type,fare_amount,extra,mta_tax,"
    "tip_amount,tolls_amount,improvement_surcharge,total_amount"
)
YELLOW: Dated[Layout] = (
    (Month(2009, 1), Layout(_YELLOW_2009, _BLANK_LINE, exact=True)),
    (Month(2010, 1), Layout(_YELLOW_2010, _BLANK_LINE, exact=True)),
    (Month(2014, 1), Layout(_YELLOW_2010.replace(",", ", "), _BLANK_LINE, exact=True)),
    (Month(2015, 1), Layout(_YELLOW_2015)),
    (Month(2015, 7), Layout(_YELLOW_2015.replace("RateCodeID", "RatecodeID"))),
    (Month(2016, 7), Layout(_YELLOW_2016, row_end=_WIDER)),
    (Month(2017, 1), Layout(_YELLOW_2016, _BLANK_LINE)),
    (Month(2019, 1), Layout(f"{_YELLOW_2016},congestion_surcharge")),
)

_GREEN_2013 = (
    "VendorID,lpep_pickup_datetime,Lpep_dropoff_datetime,Store_and_fwd_flag,RateCodeID,"
    "Pickup_longitude,Pickup_latitude,Dropoff_longitude,Dropoff_latitude,Passenger_count,"
    "Trip_distance,Fare_amount,Extra,MTA_tax,Tip_amount,Tolls_amount,Ehail_fee,Total_amount,"
    "Payment_type,Trip_type "
)
_GREEN_2015 = _GREEN_2013.replace("Total_amount", "improvement_surcharge,Total_amount")
_GREEN_2016 = (
    "VendorID,lpep_pickup_datetime,lpep_dropoff_datetime,store_and_fwd_flag,RatecodeID,"
    "PULocationID,DOLocationID,passenger_count,trip_distance,fare_amount,extra,mta_tax,tip_amount,"
    "tolls_amount,ehail_fee,improvement_surcharge,total_amount,payment_type,trip_type"
)
GREEN: Dated[Layout] = (
    (Month(2013, 8), Layout(_GREEN_2013, _BLANK_LINE, _WIDER)),
    (Month(2014, 1), Layout(_GREEN_2013, f"\n{_BLANK_LINE}", _WIDER)),
    (Month(2015, 1), Layout(_GREEN_2015, row_end=_WIDER)),
    (Month(2015, 7), Layout(_GREEN_2015)),
    (Month(2016, 1), Layout(_GREEN_2015, _BLANK_LINE)),
    (Month(2016, 7), Layout(_GREEN_2016, _BLANK_LINE, _WIDER)),
    (Month(2017, 1), Layout(_GREEN_2016, _BLANK_LINE)),
    (Month(2019, 1), Layout(f"{_GREEN_2016},congestion_surcharge")),
)

_FHV_2017 = "Dispatching_base_num,Pickup_DateTime,DropOff_datetime,PUlocationID,DOlocationID"
_FHV_2018 = (
    "Pickup_DateTime,DropOff_datetime,PUlocationID,DOlocationID,SR_Flag,Dispatching_base_number,"
    "Dispatching_base_num"
)
_FHV_2019 = (
    "dispatching_base_num,pickup_datetime,dropoff_datetime,PULocationID,DOLocationID,SR_Flag"
)
FHV: Dated[Layout] = (
    (Month(2015, 1), Layout("Dispatching_base_num,Pickup_date,locationID")),
    (Month(2017, 1), Layout(_FHV_2017)),
    (Month(2017, 7), Layout(f"{_FHV_2017},SR_Flag", quoted=True)),
    (Month(2018, 1), Layout(_FHV_2018, quoted=True, unfilled="Dispatching_base_num")),
    (Month(2019, 1), Layout(_FHV_2019)),
)

_FHVHV_2019 = f"hvfhs_license_num,{_FHV_2019}"
# The mirror's last month has the header that fhv's files were given when they were released again.
_FHVHV_2021_06 = (
    "dispatching_base_num,pickup_datetime,dropOff_datetime,PUlocationID,DOlocationID,SR_Flag,"
    "Affiliated_base_number"
)
FHVHV: Dated[Layout] = (
    (Month(2019, 2), Layout(_FHVHV_2019)),
    (Month(2021, 6), Layout(_FHVHV_2021_06)),
    (Month(2021, 7), Layout(_FHVHV_2019)),
)

# The last months of CSV: of yellow and green the mirror's, of the others TLC's.
LAST_OF_TAXIS = Month(2021, 7)
LAST_FOR_HIRE = Month(2021, 12)
