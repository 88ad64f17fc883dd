"""The first lines of the published files, by the year in which they came up.

From https://www.nyc.gov/site/tlc/about/tlc-trip-record-data.page and its mirrors. What else a file
has is not said here.
"""

YELLOW_2009 = (
    "vendor_name,Trip_Pickup_DateTime,Trip_Dropoff_DateTime,Passenger_Count,Trip_Distance,"
    "Start_Lon,Start_Lat,Rate_Code,store_and_forward,End_Lon,End_Lat,Payment_Type,Fare_Amt,"
    "surcharge,mta_tax,Tip_Amt,Tolls_Amt,Total_Amt"
)
YELLOW_2010 = (
    "vendor_id,pickup_datetime,dropoff_datetime,passenger_count,trip_distance,pickup_longitude,"
    "pickup_latitude,rate_code,store_and_fwd_flag,dropoff_longitude,dropoff_latitude,payment_type,"
    "fare_amount,surcharge,mta_tax,tip_amount,tolls_amount,total_amount"
)
YELLOW_2014 = (
    "vendor_id, pickup_datetime, dropoff_datetime, passenger_count, trip_distance, "
    "pickup_longitude, pickup_latitude, rate_code, store_and_fwd_flag, dropoff_longitude, "
    "dropoff_latitude, payment_type, fare_amount, surcharge, mta_tax, tip_amount, tolls_amount, "
    "total_amount"
)
YELLOW_2015 = (
    "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,trip_distance,"
    "pickup_longitude,pickup_latitude,RateCodeID,store_and_fwd_flag,dropoff_longitude,"
    "dropoff_latitude,payment_type,fare_amount,extra,mta_tax,tip_amount,tolls_amount,"
    "improvement_surcharge,total_amount"
)
YELLOW_2016 = (
    "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,trip_distance,RatecodeID,"
    "store_and_fwd_flag,PULocationID,DOLocationID,payment_type,fare_amount,extra,mta_tax,"
    "tip_amount,tolls_amount,improvement_surcharge,total_amount"
)
GREEN_2013 = (
    "VendorID,lpep_pickup_datetime,Lpep_dropoff_datetime,Store_and_fwd_flag,RateCodeID,"
    "Pickup_longitude,Pickup_latitude,Dropoff_longitude,Dropoff_latitude,Passenger_count,"
    "Trip_distance,Fare_amount,Extra,MTA_tax,Tip_amount,Tolls_amount,Ehail_fee,Total_amount,"
    "Payment_type,Trip_type "
)
GREEN_2015 = (
    "VendorID,lpep_pickup_datetime,Lpep_dropoff_datetime,Store_and_fwd_flag,RateCodeID,"
    "Pickup_longitude,Pickup_latitude,Dropoff_longitude,Dropoff_latitude,Passenger_count,"
    "Trip_distance,Fare_amount,Extra,MTA_tax,Tip_amount,Tolls_amount,Ehail_fee,"
    "improvement_surcharge,Total_amount,Payment_type,Trip_type "
)
GREEN_2016 = (
    "VendorID,lpep_pickup_datetime,lpep_dropoff_datetime,store_and_fwd_flag,RatecodeID,"
    "PULocationID,DOLocationID,passenger_count,trip_distance,fare_amount,extra,mta_tax,tip_amount,"
    "tolls_amount,ehail_fee,improvement_surcharge,total_amount,payment_type,trip_type"
)
FHV_2015 = "Dispatching_base_num,Pickup_date,locationID"
FHV_2017 = "Dispatching_base_num,Pickup_DateTime,DropOff_datetime,PUlocationID,DOlocationID"
FHV_2017_QUOTED = (
    '"Dispatching_base_num","Pickup_DateTime","DropOff_datetime","PUlocationID","DOlocationID",'
    '"SR_Flag"'
)
FHV_2018 = (
    '"Pickup_DateTime","DropOff_datetime","PUlocationID","DOlocationID","SR_Flag",'
    '"Dispatching_base_number","Dispatching_base_num"'
)
FHV_2019 = "dispatching_base_num,pickup_datetime,dropoff_datetime,PULocationID,DOLocationID,SR_Flag"
FHV_2021 = (
    "dispatching_base_num,pickup_datetime,dropOff_datetime,PUlocationID,DOlocationID,SR_Flag,"
    "Affiliated_base_number"
)
YELLOW_2019 = f"{YELLOW_2016},congestion_surcharge"
YELLOW_2026 = f"{YELLOW_2019},Airport_fee,cbd_congestion_fee,request_source"
GREEN_2019 = f"{GREEN_2016},congestion_surcharge"
GREEN_2026 = f"{GREEN_2019},cbd_congestion_fee,request_source"
FHVHV_2019 = f"hvfhs_license_num,{FHV_2019}"
FHVHV_2021 = (
    "hvfhs_license_num,dispatching_base_num,originating_base_num,request_datetime,"
    "on_scene_datetime,pickup_datetime,dropoff_datetime,PULocationID,DOLocationID,trip_miles,"
    "trip_time,base_passenger_fare,tolls,bcf,sales_tax,congestion_surcharge,airport_fee,tips,"
    "driver_pay,shared_request_flag,shared_match_flag,access_a_ride_flag,wav_request_flag,"
    "wav_match_flag"
)
FHVHV_2026 = f"{FHVHV_2021},cbd_congestion_fee"
